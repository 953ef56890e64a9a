//! Stage 5: batches to a back end, again and again where that is right, until it has them.
//!
//! ```text
//!  queue ─▶ take ─▶ bytes (memory or disk) ─▶ tail sampling ─▶ joined, compressed ─▶ client ─▶ accepted: done
//!                                                                  ▲                   │  try again: pause, then the same
//!                                                                  └─ halves ◀─────────┘  refused for good: the culprit alone is lost
//! ```
//!
//! Each back end has `in_flight` workers, each with one batch at a time.
//!
//! **Invariants**: a batch leaves the queue when the back end has acknowledged it, refused it for good, or nothing is left of it;
//! what a back end refuses for its content is halved until the record at fault is alone, so that it takes no other sender's spans
//! with it; what is lost is counted by back end, sender and reason; partial_success is never sent again.
//! **Absent**: an end of trying: what cannot be delivered stays until the queue is full, and then senders are told to wait.

mod back_end;
mod client;
mod outcome;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use service::ErrorChain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::metrics::TraceMetrics;
use super::queue::{Batching, Entry, spans_of};
use super::tail::Tail;
use crate::segments::{Position, Reader};
pub use back_end::{BackEnd, BackEndOptions, State};
pub use client::{Address, Client, ClientError};
pub use outcome::{Backoff, Outcome};

/// Pause after accepted spans could not be read from the disk.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// Serves a back end with one batch at a time.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The back end.
    pub back_end: Arc<BackEnd>,
    /// How it is reached.
    pub client: Client,
    /// What is left out.
    pub tail: Option<Arc<Tail>>,
    /// What is counted.
    pub metrics: TraceMetrics,
}

/// A part of a batch: its entry's index, the spans that are left of it, and their number.
type Part = (Bytes, u32, Arc<str>);

impl Worker {
    /// Serves until shutdown; a queue without a disk is then emptied as far as its back end answers.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let batching = self.back_end.options.batching;
        loop {
            let next = match self.back_end.queue.take(&batching, Instant::now()) {
                Ok(entries) => {
                    self.deliver(entries, &shutdown).await;
                    continue;
                }
                Err(next) => next,
            };
            let pause = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.back_end.queue.news() => {}
                () = tokio::time::sleep_until(pause) => {}
            }
        }
        if self.back_end.options.queue.folder.is_none() {
            let at_once = Batching { delay: Duration::ZERO, hold: Duration::ZERO, ..batching };
            while let Ok(entries) = self.back_end.queue.take(&at_once, Instant::now()) {
                self.deliver(entries, &shutdown).await;
            }
        }
        Ok(())
    }

    async fn deliver(&self, entries: Vec<Entry>, shutdown: &CancellationToken) {
        let Some(loaded) = self.load(&entries, shutdown).await else {
            return self.back_end.queue.give_up(entries);
        };
        let mut open = vec![self.parts(&entries, loaded)];
        while let Some(mut parts) = open.pop() {
            if parts.is_empty() {
                continue;
            }
            match self.send(&parts, shutdown).await {
                Sent::Done => {}
                Sent::Refused { is_content: true, .. } if parts.len() > 1 => {
                    let second = parts.split_off(parts.len() / 2);
                    open.push(second);
                    open.push(parts);
                }
                Sent::Refused { reason, message, .. } => {
                    for (_, spans, lane) in &parts {
                        self.metrics.lost(&self.back_end.name, lane, reason, (*spans).into());
                    }
                    let senders: BTreeSet<&str> =
                        parts.iter().map(|(_, _, lane)| &**lane).collect();
                    warn!(back_end = %self.back_end.name, ?senders, error = message, "Spans were refused for good");
                }
                // They are in the queue's segments, or lost with the process as its configuration says.
                Sent::Stopped => return self.back_end.queue.give_up(entries),
            }
        }
        self.back_end.queue.done(&entries).await;
    }

    /// The spans of the entries that are to be sent.
    fn parts(&self, entries: &[Entry], loaded: Vec<Option<Bytes>>) -> Vec<Part> {
        let now = Instant::now();
        let mut parts = Vec::with_capacity(entries.len());
        for (entry, bytes) in entries.iter().zip(loaded) {
            let Some(bytes) = bytes else {
                self.metrics.lost(&self.back_end.name, &entry.lane, "damaged", entry.spans.into());
                continue;
            };
            let filtered =
                self.tail.as_ref().and_then(|tail| tail.filter(&bytes, entry.system.as_ref(), now));
            match filtered {
                None => parts.push((bytes, entry.spans, Arc::clone(&entry.lane))),
                Some((edited, out)) => {
                    if out > 0 {
                        self.metrics.sampled_out(&entry.lane, out);
                    }
                    if edited.spans > 0 {
                        parts.push((edited.bytes.into(), edited.spans, Arc::clone(&entry.lane)));
                    }
                }
            }
        }
        parts
    }

    /// The entries' bytes, from memory or from disk; `None` for what cannot be read any more. What only cannot be read now is
    /// tried again, until shutdown, which gives nothing.
    async fn load(
        &self,
        entries: &[Entry],
        shutdown: &CancellationToken,
    ) -> Option<Vec<Option<Bytes>>> {
        let on_disk = || entries.iter().filter(|entry| entry.bytes.is_none());
        let positions: Arc<[_]> = on_disk().map(|entry| entry.position).collect();
        let read = loop {
            let Some(reader) = self.back_end.queue.reader().filter(|_| !positions.is_empty())
            else {
                break Vec::new();
            };
            let positions = Arc::clone(&positions);
            let task = tokio::task::spawn_blocking(move || read(reader, &positions));
            match task.await.map_err(io::Error::other).flatten() {
                Ok(read) => break read,
                Err(error) => {
                    self.metrics.retry(&self.back_end.name, "disk");
                    warn!(error = %ErrorChain(&error), "Accepted spans cannot be read now");
                }
            }
            shutdown.run_until_cancelled(tokio::time::sleep(READ_PAUSE)).await?;
        };
        let mut read = read.into_iter();
        let of = |entry: &Entry| entry.bytes.clone().or_else(|| read.next().flatten());
        Some(entries.iter().map(of).collect())
    }

    /// Sends until there is an answer that counts.
    async fn send(&self, parts: &[Part], shutdown: &CancellationToken) -> Sent {
        let spans: u64 = parts.iter().map(|(_, spans, _)| u64::from(*spans)).sum();
        let request = self.client.request(&join(parts));
        let mut backoff = Backoff::new(self.back_end.options.max_pause);
        loop {
            let is_last = shutdown.is_cancelled();
            let outcome = tokio::select! {
                outcome = self.client.send(&request) => outcome,
                // An attempt under way may take a moment more, so that fewer spans are sent twice.
                () = grace(shutdown) => return Sent::Stopped,
            };
            match outcome {
                Outcome::Accepted { rejected, message } => {
                    self.well();
                    self.accepted(parts, spans, rejected, &message);
                    return Sent::Done;
                }
                Outcome::Refused { reason, message, is_content } => {
                    self.well();
                    return Sent::Refused { reason, message, is_content };
                }
                Outcome::Retry { reason, message, after } => {
                    self.metrics.retry(&self.back_end.name, reason);
                    if self.back_end.state.set(Some(&message)) {
                        warn!(back_end = %self.back_end.name, error = message, "The back end takes nothing; spans wait in its queue");
                    }
                    if is_last {
                        return Sent::Stopped;
                    }
                    let pause = backoff.next(after, fastrand::f64());
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = shutdown.cancelled() => return Sent::Stopped,
                    }
                }
            }
        }
    }

    fn well(&self) {
        if self.back_end.state.set(None) {
            info!(back_end = %self.back_end.name, "The back end takes spans again");
        }
    }

    fn accepted(&self, parts: &[Part], spans: u64, rejected: u64, message: &str) {
        let rejected = rejected.min(spans);
        self.metrics.sent(&self.back_end.name, spans - rejected);
        if rejected > 0 {
            // The answer does not say whose they were.
            let lane = match parts {
                [(_, _, lane)] => Arc::clone(lane),
                _ => Arc::from("several"),
            };
            self.metrics.lost(&self.back_end.name, &lane, "partial_success", rejected);
            warn!(back_end = %self.back_end.name, rejected, error = message, "The back end rejected a part of a batch");
        } else if !message.is_empty() {
            info!(back_end = %self.back_end.name, remark = message, "The back end has a remark");
        }
    }
}

enum Sent {
    Done,
    Refused { reason: &'static str, message: String, is_content: bool },
    Stopped,
}

async fn grace(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
}

/// The spans at these positions; `None` for what is damaged.
fn read(mut reader: Reader, positions: &[Position]) -> io::Result<Vec<Option<Bytes>>> {
    let one = |position| match reader.read(position) {
        Ok(record) => Ok(spans_of(record.into())),
        Err(error) if error.is_final() => {
            warn!(error = %ErrorChain(&error), "Accepted spans are damaged");
            Ok(None)
        }
        Err(error) => Err(io::Error::other(error)),
    };
    positions.iter().copied().map(one).collect()
}

/// Requests are joined by appending them.
fn join(parts: &[Part]) -> Bytes {
    if let [(only, _, _)] = parts {
        return only.clone();
    }
    let mut joined = BytesMut::with_capacity(parts.iter().map(|(bytes, _, _)| bytes.len()).sum());
    parts.iter().for_each(|(bytes, _, _)| joined.extend_from_slice(bytes));
    joined.freeze()
}
