//! Fragments of one line, as Docker's journald driver and the reader of files write them: they carry an id, an ordinal from 1
//! on, and whether they are the last.
//!
//! A line is complete when its last fragment and all before it are there. A program that ends without a newline leaves a line
//! without a last fragment; such a line goes out at its time limit, marked `incomplete`, as one with a missing fragment does.
//!
//! **Invariants**: a fragment is never lost: it is in the message, or counted as cut because the message became too long.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use super::{Joined, Remarks};
use crate::logs::entry::Entry;
use crate::logs::shape::fields::{Known, Scan};

/// Lines that wait for fragments.
#[derive(Debug, Default)]
pub(in crate::logs::shape) struct Partials {
    open: BTreeMap<Key, Open>,
    bytes: usize,
}

/// The source, the container and the line's id. Each stream of a container numbers its own lines.
type Key = (u32, Box<[u8]>, Box<[u8]>);

/// A line that waits.
#[derive(Debug)]
pub(in crate::logs::shape) struct Open {
    /// Its first entry, with that entry's message.
    pub(in crate::logs::shape) first: Entry,
    /// Its place in the order of reading.
    pub(in crate::logs::shape) order: u64,
    pub(in crate::logs::shape) message: Vec<u8>,
    pub(in crate::logs::shape) joined: Joined,
    pub(in crate::logs::shape) deadline: Instant,
    pieces: Vec<Piece>,
    last: Option<u64>,
}

#[derive(Debug)]
struct Piece {
    ordinal: u64,
    bytes: Range<usize>,
}

fn key(entry: &Entry, scan: &Scan) -> Option<Key> {
    let id = scan.get(&entry.fields, Known::PartialId)?;
    let container = scan.get(&entry.fields, Known::ContainerId).unwrap_or_default();
    Some((entry.source.0, container.into(), id.into()))
}

impl Partials {
    /// Whether an entry continues a line that waits.
    pub(in crate::logs::shape) fn continues(&self, entry: &Entry, scan: &Scan) -> bool {
        key(entry, scan).is_some_and(|key| self.open.contains_key(&key))
    }

    /// Takes a fragment; the line, if it is complete with it.
    pub(in crate::logs::shape) fn add(
        &mut self,
        entry: &Entry,
        scan: &Scan,
        order: u64,
        most_bytes: usize,
        deadline: Instant,
    ) -> Option<Open> {
        let key = key(entry, scan)?;
        let text = scan.get(&entry.fields, Known::Message).unwrap_or_default();
        let ordinal = scan.number(&entry.fields, Known::PartialOrdinal);
        let is_last = scan.get(&entry.fields, Known::PartialLast) == Some(b"true");
        let open = self.open.entry(key.clone()).or_insert_with(|| {
            let open = Open::new(entry.clone(), order, deadline);
            self.bytes += open.size();
            open
        });
        self.bytes -= open.size();
        open.add(text, ordinal, is_last, most_bytes, deadline);
        self.bytes += open.size();
        match open.is_complete() {
            true => self.take(&key),
            false => None,
        }
    }

    /// Takes the next line whose time is over.
    pub(in crate::logs::shape) fn expired(&mut self, now: Instant) -> Option<Open> {
        let due = self.open.iter().filter(|(_, open)| open.deadline <= now);
        let key = due.min_by_key(|(_, open)| open.order).map(|(key, _)| key.clone())?;
        self.take(&key)
    }

    /// Takes the line that waits longest.
    pub(in crate::logs::shape) fn oldest(&mut self) -> Option<Open> {
        let key = self.open.iter().min_by_key(|(_, open)| open.order)?.0.clone();
        let mut open = self.take(&key)?;
        open.joined.remarks.add(Remarks::EARLY);
        Some(open)
    }

    fn take(&mut self, key: &Key) -> Option<Open> {
        let mut open = self.open.remove(key)?;
        self.bytes -= open.size();
        open.finish();
        Some(open)
    }

    pub(in crate::logs::shape) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.open.values()
    }

    pub(in crate::logs::shape) fn len(&self) -> usize {
        self.open.len()
    }

    pub(in crate::logs::shape) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Open {
    fn new(first: Entry, order: u64, deadline: Instant) -> Self {
        Self {
            first,
            order,
            message: Vec::new(),
            joined: Joined { entries: 0, ..Joined::ONE },
            deadline,
            pieces: Vec::new(),
            last: None,
        }
    }

    fn size(&self) -> usize {
        self.first.fields.size() + self.message.len() + self.pieces.len() * size_of::<Piece>()
    }

    /// Adds a fragment.
    fn add(
        &mut self,
        text: &[u8],
        ordinal: Option<u64>,
        is_last: bool,
        most_bytes: usize,
        deadline: Instant,
    ) {
        let before = self.pieces.last().map_or(0, |piece| piece.ordinal);
        // One without a number comes after those before it.
        let ordinal = ordinal.unwrap_or_else(|| {
            self.joined.remarks.add(Remarks::INCOMPLETE);
            before + 1
        });
        let room = most_bytes.saturating_sub(self.message.len());
        let kept = text.get(..room).unwrap_or(text);
        let begin = self.message.len();
        self.message.extend_from_slice(kept);
        self.joined.cut += (text.len() - kept.len()) as u64;
        self.joined.entries = self.joined.entries.saturating_add(1);
        if ordinal <= before {
            self.joined.remarks.add(Remarks::REORDERED);
        }
        self.pieces.push(Piece { ordinal, bytes: begin..self.message.len() });
        if is_last {
            self.last = Some(ordinal);
        }
        self.deadline = deadline;
    }

    fn is_complete(&self) -> bool {
        self.last.is_some_and(|last| {
            let is_one = |ordinal: u64| (1..=last).contains(&ordinal);
            let count = self.pieces.iter().filter(|piece| is_one(piece.ordinal)).count();
            count as u64 >= last && (!self.is_reordered() || self.missing() == 0)
        })
    }

    fn is_reordered(&self) -> bool {
        self.joined.remarks.has(Remarks::REORDERED)
    }

    /// Ordinals of which no fragment came, below the highest that did.
    fn missing(&self) -> u64 {
        let mut ordinals: Vec<u64> = self.pieces.iter().map(|piece| piece.ordinal).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        ordinals.retain(|ordinal| *ordinal > 0);
        ordinals.last().map_or(0, |highest| highest - ordinals.len() as u64)
    }

    /// Brings the fragments in order, and says what is missing.
    fn finish(&mut self) {
        if self.last.is_none() || self.missing() > 0 {
            self.joined.remarks.add(Remarks::INCOMPLETE);
        }
        if self.is_reordered() {
            self.pieces.sort_by_key(|piece| piece.ordinal);
            let pieces =
                self.pieces.iter().filter_map(|piece| self.message.get(piece.bytes.clone()));
            self.message = pieces.collect::<Vec<_>>().concat();
        }
    }
}
