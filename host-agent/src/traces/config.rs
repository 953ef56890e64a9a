//! `[traces]`: what is taken from whom, what becomes of it, and where it goes.
//!
//! In: the table. Out: [`TracesConfig`], or every problem with its key. Without an address to listen on the part does not run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Problems;

use super::queue::{Batching, QueueOptions};
use super::receive::ReceiveLimits;
use super::send::{Address, BackEndOptions};
use super::shape::{Limits, Redaction, Shape};
use super::tail::TailRules;
use crate::segments::Durability;

mod back_end;

pub use back_end::{Compression, RawBackEnd};

/// `[traces]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTraces {
    /// Addresses such as `0.0.0.0:4317`, each for every protocol: OTLP by gRPC and HTTP, Zipkin; plain text. Without one no spans
    /// are taken.
    pub listen: Vec<SocketAddr>,
    /// Bytes of a request's body as it comes.
    pub max_request_bytes: usize,
    /// Bytes of a message after decompression.
    pub max_message_bytes: usize,
    /// Bytes of all requests under way; one sender may hold three times what is free.
    pub max_in_flight_bytes: u64,
    /// How long a request may take to arrive, in seconds.
    pub request_s: u64,
    /// Connections at a time.
    pub max_connections: usize,
    /// Attributes of resources that are set by who sends, even where the application set them: `service.name`,
    /// `service.namespace`, `service.instance.id`, `mesh.allocation`, `host.name`, `mesh.datacenter`.
    pub overwrite: Vec<String>,
    /// Attributes whose values are masked, by key; `*` at the beginning or end stands for anything.
    pub redact: Vec<String>,
    /// What a span may have.
    pub limits: RawLimits,
    /// Which traces are passed on; without it all that came.
    pub tail: Option<RawTail>,
    /// What was accepted and is not delivered.
    pub queue: RawQueue,
    /// Where spans go; each has a queue of its own.
    pub back_ends: Vec<RawBackEnd>,
}

/// `[traces.limits]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Attributes of a span, an event, a link or a resource; more are dropped, which `dropped_attributes_count` says.
    pub attributes: usize,
    /// Bytes of an attribute; longer text is shortened, other values are dropped.
    pub attribute_bytes: usize,
    /// Bytes of a span; a larger one is rejected.
    pub span_bytes: usize,
    /// How far in the future a span may end, in seconds.
    pub ahead_s: u64,
    /// How long ago a span may have ended, in hours.
    pub age_h: u64,
}

/// `[traces.tail]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTail {
    /// How long spans wait for the rest of their trace, in seconds.
    pub wait_s: u64,
    /// Traces that are remembered.
    pub traces: usize,
    /// Whether traces with an error are kept.
    pub errors: bool,
    /// Traces with a span that took so many milliseconds are kept.
    pub slow_ms: Option<u64>,
    /// Of the other traces, so many percent are kept.
    pub percent: f64,
    /// The same for single Systems: `trading = 50.0`.
    pub systems: BTreeMap<String, f64>,
    /// Of the other traces, spans a second and System at the most.
    pub spans_per_s: Option<u32>,
}

/// `[traces.queue]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawQueue {
    /// Folder of the queue on disk; a folder in it for each back end.
    pub folder: Option<PathBuf>,
    /// Keep no queue on disk: what was accepted is lost when the process ends.
    pub memory_only: bool,
    /// Bytes that stay in memory, for each back end.
    pub memory_bytes: u64,
    /// Bytes on disk, for each back end; then spans are refused.
    pub disk_bytes: u64,
    /// Whether an acknowledgement outlives the machine's sudden end (`fdatasync` for each group of requests) or only the process's.
    pub survive_power_loss: bool,
}

impl Default for RawTraces {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            max_request_bytes: 8 << 20,
            max_message_bytes: 16 << 20,
            max_in_flight_bytes: 64 << 20,
            request_s: 30,
            max_connections: 4096,
            overwrite: Vec::new(),
            redact: Vec::new(),
            limits: RawLimits::default(),
            tail: None,
            queue: RawQueue::default(),
            back_ends: Vec::new(),
        }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            attributes: 128,
            attribute_bytes: 16 << 10,
            span_bytes: 256 << 10,
            ahead_s: 3600,
            age_h: 168,
        }
    }
}

impl Default for RawTail {
    fn default() -> Self {
        Self {
            wait_s: 5,
            traces: 100_000,
            errors: true,
            slow_ms: None,
            percent: 100.0,
            systems: BTreeMap::new(),
            spans_per_s: None,
        }
    }
}

impl Default for RawQueue {
    fn default() -> Self {
        Self {
            folder: None,
            memory_only: false,
            memory_bytes: 32 << 20,
            disk_bytes: 1 << 30,
            survive_power_loss: true,
        }
    }
}

/// What the part works with.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// What a request may take.
    pub receive: ReceiveLimits,
    /// What spans look like.
    pub shape: Shape,
    /// Which traces are passed on.
    pub tail: Option<TailRules>,
    /// Where spans go.
    pub back_ends: Vec<BackEndOptions>,
}

impl RawTraces {
    /// Parses the table; what is wrong is noted under `traces.…`.
    pub fn resolve(self, problems: &mut Problems) -> Option<TracesConfig> {
        if self.listen.is_empty() && self.back_ends.is_empty() {
            return None;
        }
        let redaction = problems.take("traces.redact", Redaction::parse(&self.redact));
        if self.listen.is_empty() {
            problems.add("traces.listen", "name at least one address, such as 0.0.0.0:4317");
        }
        if self.max_message_bytes < 1024
            || self.max_in_flight_bytes < 4 * self.max_message_bytes as u64
        {
            problems.add(
                "traces.max_in_flight_bytes",
                "it must be at least four times max_message_bytes, or large messages never fit",
            );
        }
        let tail = self.tail.and_then(|tail| tail.resolve(problems));
        let hold = tail.as_ref().map_or(Duration::ZERO, |tail| tail.wait);
        if self.back_ends.is_empty() {
            problems.add("traces.back_ends", "name at least one back end");
        }
        let mut names = BTreeSet::new();
        let mut back_ends = Vec::new();
        for (index, raw) in self.back_ends.into_iter().enumerate() {
            let key = format!("traces.back_ends.{index}");
            if !names.insert(raw.name.clone()) {
                problems.add(format!("{key}.name"), "there is another of this name");
            }
            let queue = self.queue.resolve(&raw.name, problems, index == 0);
            back_ends.extend(raw.resolve(&key, queue, hold, problems));
        }
        Some(TracesConfig {
            listen: self.listen,
            receive: ReceiveLimits {
                request_bytes: self.max_request_bytes,
                message_bytes: self.max_message_bytes,
                in_flight_bytes: self.max_in_flight_bytes,
                deadline: Duration::from_secs(self.request_s.max(1)),
                connections: self.max_connections.max(1),
            },
            shape: Shape {
                limits: Limits {
                    attributes: self.limits.attributes,
                    attribute_bytes: self.limits.attribute_bytes.max(64),
                    span_bytes: self.limits.span_bytes,
                    ahead: Duration::from_secs(self.limits.ahead_s),
                    age: Duration::from_secs(self.limits.age_h.saturating_mul(3600)),
                },
                redaction: redaction?,
                overwrite: self.overwrite,
            },
            tail,
            back_ends,
        })
    }
}

impl RawTail {
    fn resolve(self, problems: &mut Problems) -> Option<TailRules> {
        for (key, percent) in std::iter::once(("traces.tail.percent".to_owned(), self.percent))
            .chain(
                self.systems
                    .iter()
                    .map(|(name, percent)| (format!("traces.tail.systems.{name}"), *percent)),
            )
        {
            if !(0.0..=100.0).contains(&percent) {
                problems.add(key, "a share is from 0 to 100");
            }
        }
        Some(TailRules {
            wait: Duration::from_secs(self.wait_s),
            traces: self.traces,
            errors: self.errors,
            slow: self.slow_ms.map(Duration::from_millis),
            percent: self.percent,
            systems: self.systems,
            rate: self.spans_per_s,
        })
    }
}

impl RawQueue {
    fn resolve(&self, back_end: &str, problems: &mut Problems, is_first: bool) -> QueueOptions {
        match (&self.folder, self.memory_only) {
            (None, false) if is_first => problems.add(
                "traces.queue.folder",
                "name a folder for what is accepted and not delivered, or write memory_only = true",
            ),
            (Some(_), true) if is_first => {
                problems
                    .add("traces.queue.memory_only", "there is a folder too; write one of them");
            }
            _ => {}
        }
        let folder = self.folder.as_ref().map(|folder| folder.join(back_end));
        QueueOptions {
            limit_bytes: if folder.is_some() { self.disk_bytes } else { self.memory_bytes },
            folder,
            memory_bytes: self.memory_bytes,
            durability: if self.survive_power_loss {
                Durability::PowerLoss
            } else {
                Durability::ProcessEnd
            },
        }
    }
}
