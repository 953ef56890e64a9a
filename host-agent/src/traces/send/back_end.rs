//! A back end: how it is served, what waits for it, and how it does.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::Address;
use crate::traces::config::Compression;
use crate::traces::queue::{Batching, Queue, QueueOptions};

/// How one back end is served.
#[derive(Debug, Clone)]
pub struct BackEndOptions {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// Whose spans it gets; empty: everybody's.
    pub systems: BTreeSet<String>,
    /// Headers of each request.
    pub headers: HeaderMap,
    /// Authorities that sign its certificate.
    pub ca_file: Option<PathBuf>,
    /// How batches are compressed.
    pub compression: Compression,
    /// How large they are.
    pub batching: Batching,
    /// How many are under way.
    pub in_flight: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// The longest pause between attempts.
    pub max_pause: Duration,
    /// Its queue.
    pub queue: QueueOptions,
}

/// A back end with its queue.
#[derive(Debug)]
pub struct BackEnd {
    /// Its name.
    pub name: Arc<str>,
    /// How it is served.
    pub options: BackEndOptions,
    /// What waits for it.
    pub queue: Queue,
    /// How it does.
    pub state: State,
}

/// How a back end does, for people.
#[derive(Debug, Default)]
pub struct State(Mutex<Option<Trouble>>);

/// What is wrong with a back end.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// In words.
    pub what: String,
    /// Since when.
    pub since: Instant,
}

impl State {
    /// What is wrong now.
    pub fn trouble(&self) -> Option<Trouble> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note; says whether that is a change between well and not.
    pub(super) fn set(&self, what: Option<&str>) -> bool {
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_change = trouble.is_some() != what.is_some();
        let since = trouble.as_ref().map_or_else(Instant::now, |trouble| trouble.since);
        *trouble = what.map(|what| Trouble { what: what.to_owned(), since });
        is_change
    }
}

impl BackEnd {
    /// Whether it gets spans of this System.
    pub fn is_for(&self, system: Option<&str>) -> bool {
        let systems = &self.options.systems;
        systems.is_empty() || system.is_some_and(|system| systems.contains(system))
    }
}
