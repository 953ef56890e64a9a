//! The schemas that are alive, as one immutable value, and what people are told of them.
//!
//! In: what the owner of schemas knows after each look at a source. Out: [`Apis`] for requests, [`Status`] for pages,
//! [`Counts`] for metrics.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contract::conversion::Conversion;
use serde::Serialize;
use tokio::time::Instant;

use super::error::SchemaError;
use super::versions::Version;
use crate::transcode::Api;

/// The versions of a schema that a request is tried with, newest first; never empty.
pub type Apis = Arc<[Arc<Api>]>;

/// Every conversion by its text.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) entries: BTreeMap<String, Arc<Entry>>,
}

/// One conversion.
#[derive(Debug)]
pub struct Entry {
    /// What is converted.
    pub conversion: Conversion,
    /// Alive, newest first.
    pub versions: Vec<Version>,
    /// Why the last look at the source brought nothing, and since when that is so.
    pub error: Option<(Arc<SchemaError>, Instant)>,
    /// When the source was looked at last; `None`: it is the first time.
    pub looked: Option<Instant>,
    /// Someone named it beforehand.
    pub is_listed: bool,
    pub(super) apis: Option<Apis>,
    pub(super) usage: Arc<Usage>,
}

/// What requests leave behind without asking the owner: milliseconds since the owner began.
#[derive(Debug, Default)]
pub(super) struct Usage {
    used: AtomicU64,
    asked: AtomicU64,
}

impl Usage {
    pub(super) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether a request may have the source looked at now; true for one of many, once in a `pause`.
    pub(super) fn may_ask(&self, now: u64, pause: Duration) -> bool {
        let last = self.asked.load(Ordering::Relaxed);
        let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        (last == 0 || now.saturating_sub(last) >= pause)
            && self
                .asked
                .compare_exchange(last, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl Snapshot {
    /// A conversion by its text.
    pub fn get(&self, conversion: &str) -> Option<&Arc<Entry>> {
        self.entries.get(conversion)
    }

    /// All conversions in the order of their texts.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// What people are told.
    pub fn status(&self, now: Instant) -> Vec<Status> {
        self.entries().map(|entry| entry.status(now)).collect()
    }

    /// Whether the other has the same versions of the same conversions, whenever they were seen.
    pub fn has_versions_of(&self, other: &Self) -> bool {
        let versions = |snapshot: &Self| {
            let of_entry = |(text, entry): (&String, &Arc<Entry>)| {
                (text.clone(), entry.versions.iter().map(|version| version.id).collect::<Vec<_>>())
            };
            snapshot.entries.iter().map(of_entry).collect::<Vec<_>>()
        };
        versions(self) == versions(other)
    }

    /// How many there are.
    pub fn counts(&self) -> Counts {
        let count = |of: fn(&Entry) -> usize| self.entries().map(|entry| of(entry)).sum();
        Counts {
            conversions: self.entries.len(),
            versions: count(|entry| entry.versions.len()),
            failing: count(|entry| usize::from(entry.error.is_some())),
            absent: count(|entry| usize::from(entry.apis.is_none())),
        }
    }
}

/// How many conversions there are, and how they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All.
    pub conversions: usize,
    /// Versions alive, of all.
    pub versions: usize,
    /// Conversions whose last look at the source brought nothing.
    pub failing: usize,
    /// Conversions without any schema: their requests are answered 503.
    pub absent: usize,
}

/// One conversion for people; times are seconds ago.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Its text, as in `x-mesh-convert`.
    pub conversion: String,
    /// The service.
    pub service: String,
    /// `reflection`, or the name of the descriptor file.
    pub source: String,
    /// Named beforehand, or only met in requests.
    pub is_listed: bool,
    /// Alive, newest first.
    pub versions: Vec<VersionStatus>,
    /// When the source was looked at last.
    pub looked_s: Option<u64>,
    /// Why the last look brought nothing, with all causes.
    pub error: Option<String>,
    /// Since when that is so.
    pub failing_s: Option<u64>,
}

/// One version for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionStatus {
    /// Its hash.
    pub id: String,
    /// When it was first seen.
    pub first_seen_s: u64,
    /// When it was last seen.
    pub last_seen_s: u64,
    /// Ways to call it, such as `GET /v1/quotes/{symbol}`.
    pub bindings: Vec<String>,
}

impl Entry {
    fn status(&self, now: Instant) -> Status {
        let ago = |then: Instant| now.saturating_duration_since(then).as_secs();
        let versions = self.versions.iter().map(|version| {
            let bindings = version.api.bindings().iter();
            VersionStatus {
                id: version.id.to_string(),
                first_seen_s: ago(version.first_seen),
                last_seen_s: ago(version.last_seen),
                bindings: bindings.map(|one| format!("{} {}", one.method, one.template)).collect(),
            }
        });
        let error = self.error.as_ref();
        Status {
            conversion: self.conversion.to_string(),
            service: self.conversion.service.to_string(),
            source: self.conversion.descriptors.clone().unwrap_or_else(|| "reflection".to_owned()),
            is_listed: self.is_listed,
            versions: versions.collect(),
            looked_s: self.looked.map(ago),
            error: error.map(|(error, _)| service::ErrorChain(error.as_ref()).to_string()),
            failing_s: error.map(|(_, since)| ago(*since)),
        }
    }
}
