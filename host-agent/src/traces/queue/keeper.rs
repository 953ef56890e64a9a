//! The thread that writes a queue's segments: all that waits at a time is written and synchronised at once.
//!
//! In: commands. Out: records on disk, then entries in the index, then answers. Small pieces of one sender that wait together
//! become one record. Blocks on the disk, so it has a thread of its own; it ends when every handle of the queue is gone or it is
//! told to stop, after what waits then is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use service::ErrorChain;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::record::{self, Record};
use super::{Command, Entry, Index, LEAST_CHARGE, Piece, Queue, QueueOptions, Refused};
use crate::segments::{Options, Position, Recovery, SegmentError, Segments};
use crate::traces::shares::Shares;

/// Bytes that are written at once.
const COMMIT_BYTES: usize = 4 << 20;
/// Pieces are put into one record up to so many bytes.
const RECORD_BYTES: usize = 128 << 10;

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    segments: Segments,
    commands: mpsc::Receiver<Command>,
    queue: Queue,
    is_failing: bool,
}

/// What was in the folder.
pub(super) struct Opened {
    pub segments: Segments,
    pub index: Index,
    pub recovery: Recovery,
}

pub(super) fn open(
    folder: &Path,
    options: &QueueOptions,
    shares: &Shares,
    mut recovered: impl FnMut(&Entry, &[u8]),
) -> Result<Opened, SegmentError> {
    let segment_bytes = u32::try_from((options.limit_bytes / 32).clamp(1 << 20, 16 << 20));
    let options = Options {
        folder: folder.to_owned(),
        segment_bytes: segment_bytes.unwrap_or(16 << 20),
        durability: options.durability,
    };
    // What was delivered is said later in the segments than what came: it is known after the first reading only.
    let since = Instant::now();
    let mut found: BTreeMap<Position, Entry> = BTreeMap::new();
    let mut done = BTreeSet::new();
    let (segments, recovery) =
        Segments::open(options, |position, bytes| match record::read(bytes) {
            Some(Record::Piece { spans, system, lane, bytes }) => {
                let charge = (bytes.len() as u64).max(LEAST_CHARGE);
                let length = bytes.len();
                let entry =
                    Entry { position, lane, system, spans, length, charge, since, bytes: None };
                recovered(&entry, bytes);
                found.insert(position, entry);
            }
            Some(Record::Done(positions)) => done.extend(positions),
            None => {}
        })?;
    let mut index = Index::default();
    index.disk_bytes = segments.bytes();
    for (_, entry) in found.into_iter().filter(|(position, _)| !done.contains(position)) {
        shares.force(&entry.lane, entry.charge);
        index.push(entry);
    }
    Ok(Opened { segments, index, recovery })
}

/// Pieces of one sender that become one record.
struct Group {
    system: Option<Arc<str>>,
    spans: u32,
    parts: Vec<Bytes>,
    length: usize,
    charge: u64,
    replies: Vec<oneshot::Sender<Result<(), Refused>>>,
    position: Position,
}

impl Keeper {
    pub(super) const fn new(
        segments: Segments,
        commands: mpsc::Receiver<Command>,
        queue: Queue,
    ) -> Self {
        Self { segments, commands, queue, is_failing: false }
    }

    /// Runs until it is told to stop. Blocks: call it on a thread where that is allowed.
    pub fn run(mut self, stop: &CancellationToken, runtime: &tokio::runtime::Handle) {
        loop {
            let first = runtime.block_on(async {
                tokio::select! {
                    biased;
                    command = self.commands.recv() => command,
                    () = stop.cancelled() => None,
                }
            });
            let is_last = first.is_none();
            let mut groups: Vec<(Arc<str>, Group)> = Vec::new();
            let mut done = Vec::new();
            let mut bytes = 0;
            let mut next = first;
            while let Some(command) = next {
                match command {
                    Command::Append { piece, charge, reply } => {
                        bytes += piece.bytes.len();
                        group(&mut groups, piece, charge, reply);
                    }
                    Command::Done { positions } => done.extend(positions),
                }
                next = if bytes < COMMIT_BYTES { self.commands.try_recv().ok() } else { None };
            }
            self.commit(groups, &done);
            if is_last {
                return;
            }
        }
    }

    fn commit(&mut self, mut groups: Vec<(Arc<str>, Group)>, done: &[Position]) {
        // Delivered records hold their segments until all of a segment are; there is an end to how much that may be.
        let most = self.queue.0.options.limit_bytes.saturating_mul(2);
        if self.segments.bytes() > most {
            self.clean_all();
        }
        if self.segments.bytes() > most {
            self.publish(std::mem::take(&mut groups), Err(Refused::Full));
        }
        for (lane, group) in &mut groups {
            let head = record::head(group.spans, group.system.as_deref(), lane);
            let mut parts = vec![head.as_slice()];
            parts.extend(group.parts.iter().map(AsRef::as_ref));
            group.position = self.segments.append(&parts);
        }
        if !done.is_empty() {
            self.segments.append(&[&record::done(done)]);
        }
        let outcome = match self.segments.commit() {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    info!("The queue can be written again");
                }
                Ok(())
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    error!(error = %ErrorChain(&error), "The queue cannot be written: spans are refused");
                }
                Err(Refused::Disk)
            }
        };
        self.publish(groups, outcome);
        self.clean();
    }

    /// Into the index first, so that whoever is answered finds it there.
    fn publish(&mut self, groups: Vec<(Arc<str>, Group)>, outcome: Result<(), Refused>) {
        let since = Instant::now();
        let mut replies = Vec::new();
        let mut index = self.queue.lock();
        for (lane, group) in groups {
            replies.extend(group.replies);
            if outcome.is_err() {
                self.queue.0.shares.give(&lane, group.charge);
                continue;
            }
            let room = self.queue.0.options.memory_bytes.saturating_sub(index.memory_bytes());
            let bytes = (group.length as u64 <= room).then(|| join(group.parts, group.length));
            index.push(Entry {
                position: group.position,
                lane,
                system: group.system,
                spans: group.spans,
                length: group.length,
                charge: group.charge,
                since,
                bytes,
            });
        }
        drop(index);
        if outcome.is_ok() {
            self.queue.0.news.notify_one();
        }
        for reply in replies {
            // Who asked may have gone; its spans are taken all the same, and a repeat is allowed.
            if reply.send(outcome).is_err() {
                debug!("A sender went away before it was answered");
            }
        }
    }

    /// Deletes every segment whose records are all delivered, also those that stand after one with an entry that its back end
    /// does not answer for: it alone must not fill the queue. What they say of older segments is forgotten with them, so a
    /// restart may repeat something.
    fn clean_all(&mut self) {
        for number in self.segments.numbers() {
            let is_live = self.queue.lock().is_live(number);
            if !is_live && let Err(error) = self.segments.drop_segment(number) {
                error!(error = %ErrorChain(&error), "A delivered segment cannot be deleted");
            }
        }
    }

    /// Deletes segments whose records, and those of all before them, are delivered.
    fn clean(&mut self) {
        let oldest = self.queue.lock().oldest_segment();
        let keep = oldest.map_or(self.segments.end(), |segment| Position { segment, offset: 0 });
        if let Err(error) = self.segments.drop_before(keep) {
            error!(error = %ErrorChain(&error), "A delivered segment cannot be deleted");
        }
        self.queue.lock().disk_bytes = self.segments.bytes();
    }
}

fn group(
    groups: &mut Vec<(Arc<str>, Group)>,
    piece: Piece,
    charge: u64,
    reply: oneshot::Sender<Result<(), Refused>>,
) {
    let length = piece.bytes.len();
    let open = groups.iter_mut().rev().find(|(lane, group)| {
        *lane == piece.lane && group.system == piece.system && group.length + length <= RECORD_BYTES
    });
    match open {
        Some((_, group)) => {
            group.spans += piece.spans;
            group.parts.push(piece.bytes);
            group.length += length;
            group.charge += charge;
            group.replies.push(reply);
        }
        None => groups.push((
            piece.lane,
            Group {
                system: piece.system,
                spans: piece.spans,
                parts: vec![piece.bytes],
                length,
                charge,
                replies: vec![reply],
                position: Position { segment: 0, offset: 0 },
            },
        )),
    }
}

fn join(mut parts: Vec<Bytes>, length: usize) -> Bytes {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            let mut joined = BytesMut::with_capacity(length);
            parts.iter().chain(&last).for_each(|part| joined.extend_from_slice(part));
            joined.freeze()
        }
    }
}
