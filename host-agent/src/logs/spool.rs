//! A destination's own queue on disk, for the time in which journald is about to delete what the destination lacks.
//!
//! In: batches that cannot be sent yet, those in flight first. Out: the same batches, oldest first. Used by one pipeline's
//! thread; empty almost always: journald is the queue.
//!
//! Batches are records of [`Segments`]; this module knows which of them were handed out and which segment may go.
//!
//! **Invariants**: a batch counts as kept when it was synced, not before; a segment's end that was not written whole is cut
//! off and counted, never a reason to stop; the size is bounded, and what gives way is the oldest segment, batch by batch
//! accounted for; a place in the order is left to it, so that positions move over it after what stands before it.
//! **Absent**: which batches were delivered; the saved position says that by number.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::logs::batch::Batch;
use crate::segments::{
    Durability, Options, Position, ReadError, Reader, Recovery, SegmentError, Segments,
};

mod record;

/// A segment is closed at this share of the spool's bound, so that giving way costs that much at the most.
const SEGMENTS: u64 = 16;
/// A segment is read at once at a start.
const LARGEST_SEGMENT: u64 = 16 << 20;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// It cannot be opened, written or made smaller.
    #[error(transparent)]
    Segments(#[from] SegmentError),
    /// A batch of it cannot be read.
    #[error("cannot read the spool's batch {number}")]
    Read {
        /// Its number.
        number: u64,
        /// Why.
        #[source]
        source: ReadError,
    },
}

/// What was found at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Batches that are whole and not delivered, without their records.
    pub batches: Vec<Batch>,
    /// Bytes that were given up because they were not written whole or cannot be read.
    pub damaged_bytes: u64,
}

/// What had to give way.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records by writer.
    pub writers: BTreeMap<Arc<str>, u64>,
    /// Batches that cannot be read any more: nobody knows what they held.
    pub damaged: u64,
}

/// The queue.
#[derive(Debug)]
pub struct Spool {
    segments: Segments,
    reader: Reader,
    bound: u64,
    /// Every batch that is kept, by its number.
    kept: BTreeMap<u64, Position>,
    /// The next batch to hand out.
    next: u64,
    /// What gave way and was not handed out: one batch without messages. All of it lies before every kept batch that waits,
    /// but for the rest of a segment of which something was handed out.
    gap: Option<Batch>,
}

impl Spool {
    /// Opens the folder and looks through what is there; what is delivered is removed.
    ///
    /// # Errors
    /// When the folder cannot be made, read or locked.
    pub fn open(directory: &Path, bound: u64, delivered: u64) -> Result<(Self, Found), SpoolError> {
        let segment_bytes = (bound / SEGMENTS).clamp(1, LARGEST_SEGMENT);
        let options = Options {
            folder: directory.to_owned(),
            segment_bytes: u32::try_from(segment_bytes).unwrap_or(u32::MAX),
            durability: Durability::PowerLoss,
        };
        let mut kept = BTreeMap::new();
        let mut found = Found::default();
        let (segments, recovery) = Segments::open(options, |position, bytes| {
            match record::decode_head(&Bytes::copy_from_slice(bytes)) {
                Some(head) => {
                    kept.insert(head.number, position);
                    found.batches.extend((head.number > delivered).then_some(head));
                }
                None => found.damaged_bytes += bytes.len() as u64,
            }
        })?;
        let Recovery { torn_bytes, damaged_bytes, .. } = recovery;
        found.damaged_bytes += torn_bytes + damaged_bytes;
        let reader = segments.reader();
        let next = delivered.saturating_add(1);
        let mut spool = Self { segments, reader, bound, kept, next, gap: None };
        spool.delivered(delivered)?;
        Ok((spool, found))
    }

    /// Whether every batch was handed out. Those that were may still be in flight.
    pub fn is_drained(&self) -> bool {
        let last = self.kept.last_key_value();
        self.gap.is_none() && last.is_none_or(|(&last, _)| last < self.next)
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.bytes()
    }

    /// Keeps a batch: when this returns it survives a power cut.
    ///
    /// # Errors
    /// When it cannot be written or synced: then it is not kept, and what was before is as it was.
    pub fn append(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        let position = self.segments.append(&[&record::encode(batch)]);
        self.segments.commit()?;
        self.kept.insert(batch.number, position);
        Ok(())
    }

    /// Says that a batch before which nothing waits was sent without the spool, so that it is not handed out.
    pub fn skip_through(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
    }

    /// The oldest batch that was not handed out yet; one without messages stands for those that gave way.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take(&mut self) -> Result<Option<Batch>, SpoolError> {
        let waiting = self.kept.range(self.next..).next();
        let waiting = waiting.map(|(&number, &position)| (number, position));
        let is_next = |gap: &mut Batch| waiting.is_none_or(|(number, _)| gap.number < number);
        if let Some(gap) = self.gap.take_if(is_next) {
            self.skip_through(gap.number);
            return Ok(Some(gap));
        }
        let Some((number, position)) = waiting else { return Ok(None) };
        let bytes = self.read(number, position)?;
        let damaged = SpoolError::Read { number, source: ReadError::Damaged(position) };
        let batch = record::decode(&bytes).ok_or(damaged)?;
        self.next = number.saturating_add(1);
        Ok(Some(batch))
    }

    /// Removes the segments whose batches are all delivered.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn delivered(&mut self, number: u64) -> Result<(), SpoolError> {
        self.kept = self.kept.split_off(&number.saturating_add(1));
        match self.kept.first_key_value() {
            Some((_, &oldest)) => self.segments.drop_before(oldest)?,
            None => self.segments.clear()?,
        }
        Ok(())
    }

    /// When more is kept than the bound allows: gives up the oldest segment of which nothing was handed out yet, and says
    /// what was in it. What was handed out may be on its way and is kept until it is delivered.
    ///
    /// # Errors
    /// When a segment cannot be read or removed.
    pub fn give_way(&mut self) -> Result<Lost, SpoolError> {
        if self.bytes() <= self.bound {
            return Ok(Lost::default());
        }
        let touched = self.kept.range(..self.next).next_back().map(|(_, at)| at.segment);
        let is_waiting = |at: &Position| touched.is_none_or(|touched| at.segment > touched);
        let Some(segment) = self.kept.values().find(|at| is_waiting(at)).map(|at| at.segment)
        else {
            return Ok(Lost::default());
        };
        // The newest batches say where reading goes on after a restart.
        if self.kept.last_key_value().is_some_and(|(_, at)| at.segment == segment) {
            return Ok(Lost::default());
        }
        let of_segment = self.kept.iter().filter(|(_, at)| at.segment == segment);
        let places = of_segment.map(|(&number, &position)| (number, position)).collect();
        let (gap, lost) = self.account(places)?;
        self.segments.drop_segment(segment)?;
        self.kept.retain(|_, at| at.segment != segment);
        match &mut self.gap {
            Some(before) => before.absorb(gap),
            none => *none = Some(gap),
        }
        Ok(lost)
    }

    /// What batches come to without their records.
    fn account(&mut self, places: Vec<(u64, Position)>) -> Result<(Batch, Lost), SpoolError> {
        let (mut gap, mut lost) = (Batch::default(), Lost::default());
        for (number, position) in places {
            let head = match self.read(number, position) {
                Ok(bytes) => record::decode_head(&bytes),
                Err(SpoolError::Read { source, .. }) if source.is_final() => None,
                Err(error) => return Err(error),
            };
            lost.damaged += u64::from(head.is_none());
            let head = head.unwrap_or_else(|| Batch { number, ..Batch::default() });
            for (writer, count) in &head.writers {
                *lost.writers.entry(Arc::clone(writer)).or_default() += u64::from(*count);
            }
            gap.absorb(head);
        }
        Ok((gap, lost))
    }

    fn read(&mut self, number: u64, position: Position) -> Result<Bytes, SpoolError> {
        let bytes = self.reader.read(position);
        bytes.map(Bytes::from).map_err(|source| SpoolError::Read { number, source })
    }
}

#[cfg(test)]
mod tests;
