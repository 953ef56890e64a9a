//! Stage 4: what was accepted for one back end, until that back end has it.
//!
//! ```text
//!  offer ─▶ share of the sender? ─▶ keeper (a thread) ─▶ segments on disk ─▶ index ─▶ take ─▶ send ─▶ done
//!             no: refused            group commit                             │ lanes by sender, deficit round robin
//!                                                                             └ bytes in memory while there is room
//! ```
//!
//! Everything that is accepted is written to the disk queue before it is acknowledged; the bytes also stay in memory as far as
//! `memory_bytes` allows, so that a healthy back end is served without reading. Beyond that they are only on disk, and are read
//! when their turn comes. What was delivered is noted in the same segments; a segment whose records are all delivered is deleted
//! when all before it are, and before that when the files have grown to twice the limit.
//!
//! **Invariants**
//! - An offer that succeeded is found again after kill -9, and after loss of power with [`Durability::PowerLoss`].
//! - What was delivered and noted is not sent again; a kill repeats at most what was in flight or not noted yet, and what a
//!   segment that was deleted early had noted.
//! - Of each sender spans leave in the order in which they came; senders take turns by bytes.
//! - Memory is bounded by `memory_bytes` and an entry of about 100 bytes for each KiB of the disk queue.
//!
//! Without a folder all of it is in memory, and an end of the process loses it: the configuration has to say so.

mod index;
mod keeper;
mod record;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::shares::{Share, Shares};
use crate::segments::{Durability, Position, Recovery, SegmentError};
use index::Index;
pub use index::{Batching, Lane};
pub use keeper::Keeper;

/// How a queue is kept.
#[derive(Debug, Clone)]
pub struct QueueOptions {
    /// Its folder on disk; `None` keeps it in memory only.
    pub folder: Option<PathBuf>,
    /// Bytes that stay in memory.
    pub memory_bytes: u64,
    /// Bytes that it may have altogether.
    pub limit_bytes: u64,
    /// What an acknowledgement outlives.
    pub durability: Durability,
}

/// Spans of one request, shaped, as one back end is to get them.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Who shares; see [`super::sender::Sender::name`].
    pub lane: Arc<str>,
    /// Its System.
    pub system: Option<Arc<str>>,
    /// How many spans.
    pub spans: u32,
    /// `resource_spans` fields.
    pub bytes: Bytes,
}

/// Something that waits, or is being sent.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is on disk; its number in a queue without a folder.
    pub position: Position,
    /// Who shares.
    pub lane: Arc<str>,
    /// Its System.
    pub system: Option<Arc<str>>,
    /// How many spans.
    pub spans: u32,
    /// Bytes of its spans.
    pub length: usize,
    /// What it holds of its sender's share.
    pub charge: u64,
    /// When it came; after a restart, when that was.
    pub since: Instant,
    /// Its spans, unless they are only on disk.
    pub bytes: Option<Bytes>,
}

/// Why an offer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The sender has its share of the queue.
    Full,
    /// The disk cannot be written.
    Disk,
}

/// What a queue holds.
#[derive(Debug, Clone, Default)]
pub struct QueueStatus {
    /// Spans that wait or are being sent.
    pub spans: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of them in memory.
    pub memory_bytes: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// How long the oldest waits.
    pub oldest: Option<Duration>,
    /// The same by sender.
    pub lanes: Vec<Lane>,
}

/// The queue of one back end; clones are handles of the same.
#[derive(Debug, Clone)]
pub struct Queue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: QueueOptions,
    shares: Arc<Shares>,
    index: Mutex<Index>,
    news: Notify,
    keeper: Option<mpsc::Sender<Command>>,
}

/// What the keeper is told.
#[derive(Debug)]
enum Command {
    Append { piece: Piece, charge: u64, reply: oneshot::Sender<Result<(), Refused>> },
    Done { positions: Vec<Position> },
}

/// Offers that wait for the keeper at a time.
const COMMANDS: usize = 512;
/// What an entry counts at least, because its place in the index takes memory.
const LEAST_CHARGE: u64 = 1024;

impl Queue {
    /// Opens the queue, with what is in its folder. The keeper, if there is one, must be run on a thread of its own.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(
        options: QueueOptions,
        recovered: impl FnMut(&Entry, &[u8]),
    ) -> Result<(Self, Option<Keeper>, Recovery), SegmentError> {
        let shares = Arc::new(Shares::new(options.limit_bytes));
        let (sender, commands) = mpsc::channel(COMMANDS);
        let (keeper, index, recovery) = match &options.folder {
            None => (None, Index::default(), Recovery::default()),
            Some(folder) => {
                let opened = keeper::open(folder, &options, &shares, recovered)?;
                (Some((opened.segments, commands)), opened.index, opened.recovery)
            }
        };
        let queue = Self(Arc::new(Inner {
            options,
            shares,
            index: Mutex::new(index),
            news: Notify::new(),
            keeper: keeper.is_some().then_some(sender),
        }));
        let keeper =
            keeper.map(|(segments, commands)| Keeper::new(segments, commands, queue.clone()));
        Ok((queue, keeper, recovery))
    }

    /// Takes a piece; when this returns `Ok`, it may be acknowledged.
    ///
    /// # Errors
    /// When the sender has its share, or the disk fails.
    pub async fn offer(&self, piece: Piece) -> Result<(), Refused> {
        let charge = (piece.bytes.len() as u64).max(LEAST_CHARGE);
        // Whoever asks may go away while it waits: then this is given back.
        let mut share = Share::none(Arc::clone(&self.0.shares), Arc::clone(&piece.lane));
        if !share.grow(charge) {
            return Err(Refused::Full);
        }
        let Some(keeper) = &self.0.keeper else {
            share.keep();
            self.lock().push_in_memory(piece, charge, Instant::now());
            self.0.news.notify_one();
            return Ok(());
        };
        let place = keeper.reserve().await.map_err(|_| Refused::Disk)?;
        // From here on the keeper answers for it, whether or not somebody waits for the answer.
        share.keep();
        let (reply, answer) = oneshot::channel();
        place.send(Command::Append { piece, charge, reply });
        answer.await.unwrap_or(Err(Refused::Disk))
    }

    /// The next batch, when one is due; else when to ask again at the latest. [`Queue::news`] says when something came.
    pub fn take(&self, batching: &Batching, now: Instant) -> Result<Vec<Entry>, Option<Instant>> {
        let mut index = self.lock();
        let taken = index.take(batching, now);
        drop(index);
        if taken.is_ok() {
            // There may be more: another worker looks.
            self.0.news.notify_one();
        }
        taken
    }

    /// Resolves after something came.
    pub async fn news(&self) {
        self.0.news.notified().await;
    }

    /// Forgets what was delivered, or lost for good.
    pub async fn done(&self, entries: &[Entry]) {
        self.finish(entries);
        if let Some(keeper) = &self.0.keeper {
            let positions = entries.iter().map(|entry| entry.position).collect();
            // A keeper that is gone ends the process; then this is sent again after the restart.
            if keeper.send(Command::Done { positions }).await.is_err() {
                tracing::debug!("The queue's keeper has ended");
            }
        }
    }

    fn finish(&self, entries: &[Entry]) {
        let mut index = self.lock();
        entries.iter().for_each(|entry| index.finish(entry));
        drop(index);
        for entry in entries {
            self.0.shares.give(&entry.lane, entry.charge);
        }
    }

    /// Puts back what could not be delivered before the end.
    pub fn give_up(&self, entries: Vec<Entry>) {
        let mut index = self.lock();
        entries.into_iter().rev().for_each(|entry| index.put_back(entry));
    }

    /// A handle that reads what is only on disk.
    pub fn reader(&self) -> Option<crate::segments::Reader> {
        self.0.options.folder.clone().map(crate::segments::Reader::new)
    }

    /// How large the whole is, and how much of it is held.
    pub fn usage(&self) -> (u64, u64) {
        self.0.shares.usage()
    }

    /// What it holds now.
    pub fn status(&self, now: Instant) -> QueueStatus {
        self.lock().status(now)
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        // Each change leaves the index whole, so what a panic elsewhere left is as good as any.
        self.0.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The spans in a record that was read from the queue's segments.
pub fn spans_of(record: Bytes) -> Option<Bytes> {
    match record::read(&record) {
        Some(record::Record::Piece { bytes, .. }) => Some(record.slice_ref(bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
