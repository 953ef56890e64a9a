//! What waits, by sender, and whose turn it is: deficit round robin (Shreedhar and Varghese 1995).
//!
//! Pure: time is an argument, bytes are shared, disk is the keeper's. A lane is a sender's entries in their order; lanes with
//! entries stand in a ring, and each may send a quantum of bytes at its turn, keeping what it could not use while it waits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Entry, Piece, QueueStatus};
use crate::segments::Position;

/// Bytes that a lane may send at its turn.
const QUANTUM: usize = 32 << 10;

/// When a batch is due, and how large it is.
#[derive(Debug, Clone, Copy)]
pub struct Batching {
    /// At most so many bytes, but for an entry that is larger by itself.
    pub bytes: usize,
    /// At most so many spans, in the same way.
    pub spans: u32,
    /// An entry waits so long for others at the most.
    pub delay: Duration,
    /// An entry is not looked at before: the time in which tail sampling waits for the rest of a trace.
    pub hold: Duration,
}

/// What a sender has in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Who.
    pub name: Arc<str>,
    /// Spans that wait.
    pub spans: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    deficit: usize,
    bytes: u64,
    spans: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    lanes: BTreeMap<Arc<str>, Waiting>,
    ring: VecDeque<Arc<str>>,
    waiting_bytes: u64,
    waiting_spans: u64,
    flying_bytes: u64,
    flying_spans: u64,
    memory_bytes: u64,
    /// Entries of each segment that are not done.
    live: BTreeMap<u64, u32>,
    next_in_memory: u64,
    pub(super) disk_bytes: u64,
}

impl Index {
    /// A piece of a queue that has no disk.
    pub(super) fn push_in_memory(&mut self, piece: Piece, charge: u64, since: Instant) {
        let position = Position { segment: self.next_in_memory, offset: 0 };
        self.next_in_memory += 1;
        self.push(Entry {
            position,
            lane: piece.lane,
            system: piece.system,
            spans: piece.spans,
            length: piece.bytes.len(),
            charge,
            since,
            bytes: Some(piece.bytes),
        });
    }

    /// An entry that came.
    pub(super) fn push(&mut self, entry: Entry) {
        *self.live.entry(entry.position.segment).or_default() += 1;
        self.memory_bytes += held(&entry);
        self.add(entry, VecDeque::push_back);
    }

    /// An entry that was taken and comes back.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.land(&entry);
        self.add(entry, VecDeque::push_front);
    }

    fn add(&mut self, entry: Entry, how: fn(&mut VecDeque<Entry>, Entry)) {
        let (bytes, spans) = (entry.length as u64, u64::from(entry.spans));
        self.waiting_bytes += bytes;
        self.waiting_spans += spans;
        let lane = self.lanes.entry(Arc::clone(&entry.lane)).or_default();
        if lane.entries.is_empty() {
            self.ring.push_back(Arc::clone(&entry.lane));
        }
        lane.bytes += bytes;
        lane.spans += spans;
        how(&mut lane.entries, entry);
    }

    /// Bytes in memory.
    pub(super) const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// An entry that was taken is delivered or lost.
    pub(super) fn finish(&mut self, entry: &Entry) {
        self.land(entry);
        self.memory_bytes = self.memory_bytes.saturating_sub(held(entry));
        if let Some(live) = self.live.get_mut(&entry.position.segment) {
            *live -= 1;
            if *live == 0 {
                self.live.remove(&entry.position.segment);
            }
        }
    }

    fn land(&mut self, entry: &Entry) {
        self.flying_bytes = self.flying_bytes.saturating_sub(entry.length as u64);
        self.flying_spans = self.flying_spans.saturating_sub(u64::from(entry.spans));
    }

    /// The oldest segment with something that is not done; `None` when all is done.
    pub(super) fn oldest_segment(&self) -> Option<u64> {
        self.live.first_key_value().map(|(segment, _)| *segment)
    }

    /// Whether a segment has something that is not done.
    pub(super) fn is_live(&self, segment: u64) -> bool {
        self.live.contains_key(&segment)
    }

    /// See [`super::Queue::take`].
    pub(super) fn take(
        &mut self,
        batching: &Batching,
        now: Instant,
    ) -> Result<Vec<Entry>, Option<Instant>> {
        let oldest = self.ring.iter().filter_map(|lane| self.lanes.get(lane)?.entries.front());
        let Some(oldest) = oldest.map(|entry| entry.since).min() else { return Err(None) };
        let is_large = self.waiting_bytes >= batching.bytes as u64
            || self.waiting_spans >= u64::from(batching.spans);
        let due = oldest + batching.hold + if is_large { Duration::ZERO } else { batching.delay };
        if due > now {
            return Err(Some(due));
        }
        let mut batch = Batch { entries: Vec::new(), bytes: 0, spans: 0, is_closed: false };
        let mut without = 0;
        while without < self.ring.len() && !batch.is_full(batching) {
            let Some(name) = self.ring.pop_front() else { break };
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            let before = batch.entries.len();
            let is_cut = lane.turn(&mut batch, batching, now);
            without = if batch.entries.len() == before && !is_cut { without + 1 } else { 0 };
            if lane.entries.is_empty() {
                self.lanes.remove(&name);
            } else if batch.is_closed {
                self.ring.push_front(name);
            } else {
                self.ring.push_back(name);
            }
        }
        self.waiting_bytes -= batch.bytes as u64;
        self.waiting_spans -= u64::from(batch.spans);
        self.flying_bytes += batch.bytes as u64;
        self.flying_spans += u64::from(batch.spans);
        if batch.entries.is_empty() {
            Err(Some(now + Duration::from_millis(10)))
        } else {
            Ok(batch.entries)
        }
    }

    pub(super) fn status(&self, now: Instant) -> QueueStatus {
        let lanes: Vec<Lane> = self
            .lanes
            .iter()
            .map(|(name, lane)| Lane {
                name: Arc::clone(name),
                spans: lane.spans,
                bytes: lane.bytes,
            })
            .collect();
        let oldest = self.lanes.values().filter_map(|lane| lane.entries.front());
        QueueStatus {
            spans: self.waiting_spans + self.flying_spans,
            bytes: self.waiting_bytes + self.flying_bytes,
            memory_bytes: self.memory_bytes,
            disk_bytes: self.disk_bytes,
            oldest: oldest.map(|entry| now.saturating_duration_since(entry.since)).max(),
            lanes,
        }
    }
}

fn held(entry: &Entry) -> u64 {
    entry.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
}

struct Batch {
    entries: Vec<Entry>,
    bytes: usize,
    spans: u32,
    /// The next entry does not fit.
    is_closed: bool,
}

impl Batch {
    const fn is_full(&self, batching: &Batching) -> bool {
        self.is_closed || self.bytes >= batching.bytes || self.spans >= batching.spans
    }

    fn fits(&self, entry: &Entry, batching: &Batching) -> bool {
        self.entries.is_empty()
            || (self.bytes + entry.length <= batching.bytes
                && self.spans + entry.spans <= batching.spans)
    }
}

impl Waiting {
    /// Gives entries to the batch; true when the lane could have gone on but for its deficit or the batch's room.
    fn turn(&mut self, batch: &mut Batch, batching: &Batching, now: Instant) -> bool {
        self.deficit += QUANTUM;
        while let Some(front) = self.entries.front() {
            if front.since + batching.hold > now {
                break;
            }
            if !batch.fits(front, batching) {
                // The turn is kept: the next batch begins with it.
                batch.is_closed = true;
                self.deficit = self.deficit.saturating_sub(QUANTUM);
                return true;
            }
            if front.length > self.deficit {
                return true;
            }
            self.deficit -= front.length;
            self.bytes -= front.length as u64;
            self.spans -= u64::from(front.spans);
            batch.bytes += front.length;
            batch.spans += front.spans;
            batch.entries.extend(self.entries.pop_front());
        }
        self.deficit = 0;
        false
    }
}
