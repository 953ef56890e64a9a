//! What the fleet is to see, and when each of its proxies saw it.
//!
//! In: a [`Goal`] from the scenario, digests from the proxies. Out: arrival times, bytes, when all are there.
//! Shared by every proxy of a fleet.
//!
//! **Invariants**: a proxy arrives once in a round; times count from one origin; no proxy waits for another.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::bail;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::proxy::{Digest, Kind};

/// What a proxy must see in a round.
#[derive(Debug, Clone, Default)]
pub enum Goal {
    /// Nothing.
    #[default]
    None,
    /// Its first whole configuration.
    Configured,
    /// The server accepts its stream.
    Accepted,
    /// An assignment whose name ends so holds these bytes, or holds them no more.
    Endpoint {
        /// The service.
        service: String,
        /// The instance's address.
        address: String,
        /// Whether it must be there.
        is_present: bool,
    },
    /// So many clusters and their assignments, sent anew.
    Clusters(usize),
}

/// What a proxy has seen of the round so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    round: u64,
    clusters: usize,
    endpoints: usize,
}

#[derive(Debug, Default)]
struct Round {
    number: u64,
    goal: Goal,
}

/// See the module.
#[derive(Debug)]
pub struct Board {
    origin: Instant,
    round: RwLock<Round>,
    /// Nanoseconds from the origin; 0: not yet.
    arrivals: Vec<AtomicU64>,
    missing: AtomicUsize,
    all_there: Notify,
    bytes: AtomicU64,
    last_byte: AtomicU64,
    lost: AtomicUsize,
    last_loss: Mutex<String>,
}

impl Board {
    /// For a fleet of this size.
    pub fn new(proxies: usize) -> Self {
        Self {
            origin: Instant::now(),
            round: RwLock::default(),
            arrivals: (0..proxies).map(|_| AtomicU64::new(0)).collect(),
            missing: AtomicUsize::new(0),
            all_there: Notify::new(),
            bytes: AtomicU64::new(0),
            last_byte: AtomicU64::new(0),
            lost: AtomicUsize::new(0),
            last_loss: Mutex::default(),
        }
    }

    /// Begins a round.
    pub fn expect(&self, goal: Goal) {
        let mut round = self.round.write().unwrap_or_else(PoisonError::into_inner);
        round.number += 1;
        round.goal = goal;
        for arrival in &self.arrivals {
            arrival.store(0, Ordering::Relaxed);
        }
        self.missing.store(self.arrivals.len(), Ordering::SeqCst);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Nanoseconds since the board was made.
    pub fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// A proxy received a message.
    pub fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A proxy received anything.
    pub fn touched(&self) {
        self.last_byte.fetch_max(self.now(), Ordering::Relaxed);
    }

    /// The server accepted a proxy's stream.
    pub fn accepted(&self, proxy: usize) {
        let round = self.round.read().unwrap_or_else(PoisonError::into_inner);
        if matches!(round.goal, Goal::Accepted) {
            self.arrive(proxy);
        }
    }

    /// A proxy took in a response.
    pub fn report(
        &self,
        proxy: usize,
        is_configured: bool,
        digest: &Digest<'_>,
        progress: &mut Progress,
    ) {
        let round = self.round.read().unwrap_or_else(PoisonError::into_inner);
        if progress.round != round.number {
            *progress = Progress { round: round.number, ..Progress::default() };
        }
        let is_there = match &round.goal {
            Goal::None | Goal::Accepted => false,
            Goal::Configured => is_configured,
            Goal::Endpoint { service, address, is_present } => {
                digest.kind == Kind::Endpoints
                    && digest.resources.iter().any(|(name, body)| {
                        name.ends_with(service.as_str()) && contains(body, address) == *is_present
                    })
            }
            Goal::Clusters(count) => {
                match digest.kind {
                    Kind::Clusters => progress.clusters += digest.resources.len(),
                    Kind::Endpoints => progress.endpoints += digest.resources.len(),
                    Kind::Listeners | Kind::Routes => {}
                }
                progress.clusters >= *count && progress.endpoints >= *count
            }
        };
        if is_there {
            self.arrive(proxy);
        }
    }

    fn arrive(&self, proxy: usize) {
        let Some(arrival) = self.arrivals.get(proxy) else { return };
        let first = arrival.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        if first.is_ok() && self.missing.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.all_there.notify_waiters();
        }
    }

    /// A proxy's stream ended although nobody asked for it.
    pub fn lose(&self, why: String) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        *self.last_loss.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Streams that ended unasked, and why the last one did.
    pub fn losses(&self) -> (usize, String) {
        let why = self.last_loss.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (self.lost.load(Ordering::Relaxed), why)
    }

    /// Waits until every proxy has arrived; their times, in nanoseconds from the origin.
    ///
    /// # Errors
    /// Some did not within the deadline.
    pub async fn all(&self, deadline: Duration) -> anyhow::Result<Vec<u64>> {
        let wait = async {
            loop {
                let there = self.all_there.notified();
                if self.missing.load(Ordering::SeqCst) == 0 {
                    return;
                }
                // A notification between the look and the wait is found at the next look.
                if tokio::time::timeout(Duration::from_millis(50), there).await.is_ok() {
                    return;
                }
            }
        };
        if tokio::time::timeout(deadline, wait).await.is_err() {
            let (lost, why) = self.losses();
            let goal = &self.round.read().unwrap_or_else(PoisonError::into_inner).goal;
            bail!(
                "{} of {} proxies did not see {goal:?} within {deadline:?}; {lost} streams were lost: {why}",
                self.missing.load(Ordering::SeqCst),
                self.arrivals.len(),
            );
        }
        Ok(self.arrivals.iter().map(|arrival| arrival.load(Ordering::Relaxed)).collect())
    }

    /// Waits until nothing was received for `quiet`; when the last byte came.
    pub async fn settle(&self, quiet: Duration) -> u64 {
        loop {
            let last = self.last_byte.load(Ordering::Relaxed);
            let since = Duration::from_nanos(self.now().saturating_sub(last));
            match quiet.checked_sub(since) {
                None | Some(Duration::ZERO) => return last,
                Some(left) => tokio::time::sleep(left).await,
            }
        }
    }

    /// Bytes of messages received in this round by all.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn contains(body: &[u8], address: &str) -> bool {
    body.windows(address.len()).any(|window| window == address.as_bytes())
}
