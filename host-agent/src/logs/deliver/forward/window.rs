//! What was taken and has no outcome yet: parcels, cut into pieces that are sent as chunks.
//!
//! In: parcels, and what became of their pieces. Out: pieces, and each parcel's outcome when the last of its records is
//! accounted for. Pure.
//!
//! **Invariants**: every record of an open parcel is in exactly one piece that somebody holds; memory is bounded by the window,
//! which is exceeded by one parcel at the most.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use crate::logs::batch::Message;
use crate::logs::deliver::{Outcome, Parcel, ParcelId};

/// Names a piece for as long as the output runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChunkId(u64);

/// A run of records of one parcel. Ordered as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// The parcel, by the order of arrival.
    pub(super) parcel: u64,
    /// Indices of its records.
    pub(super) records: Range<u32>,
    /// Its name.
    pub(super) id: ChunkId,
    /// How often it was sent.
    pub(super) sends: u32,
    /// How often it was what a connection that broke had not acknowledged first.
    pub(super) heads: u32,
}

impl Piece {
    /// Its number of records.
    pub(super) fn len(&self) -> u32 {
        self.records.end - self.records.start
    }

    /// Sorts pieces as their records came.
    pub(super) fn order(&self) -> (u64, u32) {
        (self.parcel, self.records.start)
    }
}

/// A piece with its bytes, as a connection sends it.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) id: ChunkId,
    /// `option.chunk`: 128 bits in base64, as the protocol wants it.
    pub(super) name: String,
    pub(super) tag: Arc<str>,
    pub(super) entries: Bytes,
    pub(super) records: u32,
    pub(super) is_resent: bool,
}

/// Bounds of what is open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) bytes: usize,
    pub(super) parcels: usize,
    pub(super) chunk_bytes: usize,
}

/// The open parcels.
#[derive(Debug)]
pub(super) struct Window {
    bounds: Bounds,
    /// Makes chunk names differ from those of other agents and other starts.
    nonce: u64,
    open: BTreeMap<u64, Open>,
    bytes: usize,
    next_parcel: u64,
    next_chunk: u64,
}

#[derive(Debug)]
struct Open {
    id: ParcelId,
    message: Message,
    /// Records without an end.
    left: u32,
    dead: u32,
}

impl Window {
    pub(super) fn new(bounds: Bounds, nonce: u64) -> Self {
        Self { bounds, nonce, open: BTreeMap::new(), bytes: 0, next_parcel: 0, next_chunk: 0 }
    }

    /// Whether another parcel may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < self.bounds.parcels && self.bytes < self.bounds.bytes
    }

    /// Parcels and bytes that are open.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.open.len(), self.bytes)
    }

    /// Takes a parcel and cuts it into pieces of at most the largest chunk; a record above that is a piece of its own.
    /// Without records there is no piece, and its outcome is known.
    pub(super) fn take(&mut self, parcel: Parcel) -> Result<Vec<Piece>, Outcome> {
        let Parcel { id, message } = parcel;
        let records = u32::try_from(message.ends.len()).unwrap_or(u32::MAX);
        if records == 0 {
            return Err(Outcome { id, delivered: 0, dead: 0 });
        }
        let number = self.next_parcel;
        self.next_parcel += 1;
        let mut pieces = Vec::new();
        let (mut first, mut begin) = (0, 0);
        for (record, &end) in (0..records).zip(&message.ends) {
            let end = usize::try_from(end).unwrap_or(usize::MAX);
            if end.saturating_sub(begin) > self.bounds.chunk_bytes && record > first {
                pieces.push(self.piece(number, first..record));
                first = record;
                begin = byte_at(&message, record);
            }
        }
        pieces.push(self.piece(number, first..records));
        self.bytes += message.entries.len();
        self.open.insert(number, Open { id, message, left: records, dead: 0 });
        Ok(pieces)
    }

    fn piece(&mut self, parcel: u64, records: Range<u32>) -> Piece {
        let id = ChunkId(self.next_chunk);
        self.next_chunk += 1;
        Piece { parcel, records, id, sends: 0, heads: 0 }
    }

    /// Two pieces instead of one that has at least two records.
    pub(super) fn halve(&mut self, piece: &Piece) -> [Piece; 2] {
        let middle = piece.records.start + piece.len() / 2;
        let (start, end) = (piece.records.start, piece.records.end);
        [start..middle, middle..end]
            .map(|records| Piece { sends: piece.sends, ..self.piece(piece.parcel, records) })
    }

    /// What is sent of a piece; `None` when its parcel is not open, which no piece outlives.
    pub(super) fn chunk(&self, piece: &Piece) -> Option<Chunk> {
        let message = &self.open.get(&piece.parcel)?.message;
        let begin = byte_at(message, piece.records.start);
        let end = byte_at(message, piece.records.end).max(begin);
        let mut name = [0; 16];
        let (nonce, number) = name.split_at_mut(8);
        nonce.copy_from_slice(&self.nonce.to_be_bytes());
        number.copy_from_slice(&piece.id.0.to_be_bytes());
        Some(Chunk {
            id: piece.id,
            name: BASE64_STANDARD.encode(name),
            tag: Arc::clone(&message.tag),
            entries: message.entries.slice(begin..end),
            records: piece.len(),
            is_resent: piece.sends > 0,
        })
    }

    /// Accounts for a piece's records; the parcel's outcome when they were the last.
    pub(super) fn end(&mut self, piece: &Piece, is_dead: bool) -> Option<Outcome> {
        let open = self.open.get_mut(&piece.parcel)?;
        open.left = open.left.saturating_sub(piece.len());
        if is_dead {
            open.dead += piece.len();
        }
        if open.left > 0 {
            return None;
        }
        let Open { id, message, dead, .. } = self.open.remove(&piece.parcel)?;
        self.bytes -= message.entries.len();
        let records = u32::try_from(message.ends.len()).unwrap_or(u32::MAX);
        Some(Outcome { id, delivered: records - dead, dead })
    }
}

/// Where a record begins in a message's bytes; that of the record after the last is their end.
fn byte_at(message: &Message, record: u32) -> usize {
    let ends = &message.ends;
    let before = usize::try_from(record).ok().and_then(|record| record.checked_sub(1));
    let end = before.and_then(|before| ends.get(before)).map_or(0, |end| *end);
    usize::try_from(end).unwrap_or(usize::MAX).min(message.entries.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(lengths: &[u32]) -> Parcel {
        let ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        let ends: Vec<u32> = ends.collect();
        let entries = Bytes::from(vec![7; ends.last().map_or(0, |end| *end as usize)]);
        let message = Message { tag: "t".into(), entries, ends };
        Parcel { id: ParcelId { batch: 1, message: 2 }, message }
    }

    fn window(chunk_bytes: usize) -> Window {
        Window::new(Bounds { bytes: 100, parcels: 3, chunk_bytes }, 0)
    }

    #[test]
    fn a_message_above_the_largest_chunk_is_cut_and_a_record_above_it_goes_alone() {
        let mut window = window(10);
        let pieces = window.take(parcel(&[4, 4, 4, 30, 5, 5, 1])).unwrap();
        let cuts: Vec<_> = pieces.iter().map(|piece| piece.records.clone()).collect();
        assert_eq!(cuts, [0..2, 2..3, 3..4, 4..6, 6..7]);
        let sizes: Vec<_> =
            pieces.iter().map(|piece| window.chunk(piece).unwrap().entries.len()).collect();
        assert_eq!(sizes, [8, 4, 30, 10, 1]);
    }

    #[test]
    fn the_outcome_comes_with_the_last_record() {
        let mut window = window(100);
        let [piece] = window.take(parcel(&[1; 5])).unwrap().try_into().unwrap();
        let [left, right] = window.halve(&piece);
        let [middle, last] = window.halve(&right);
        assert_eq!((left.len(), middle.len(), last.len()), (2, 1, 2));
        assert_eq!(window.end(&last, false), None);
        assert_eq!(window.end(&middle, true), None);
        assert_eq!(window.size(), (1, 5));
        let id = ParcelId { batch: 1, message: 2 };
        assert_eq!(window.end(&left, false), Some(Outcome { id, delivered: 4, dead: 1 }));
        assert_eq!(window.size(), (0, 0));
    }

    #[test]
    fn the_window_is_bounded_in_parcels_and_bytes_and_nothing_waits_for_an_empty_message() {
        let mut window = window(100);
        assert!(window.take(parcel(&[])).is_err());
        assert!(window.has_room());
        window.take(parcel(&[100])).unwrap();
        assert!(!window.has_room(), "bytes");
        let mut window = self::window(100);
        for _ in 0..3 {
            assert!(window.has_room());
            window.take(parcel(&[1])).unwrap();
        }
        assert!(!window.has_room(), "parcels");
    }
}
