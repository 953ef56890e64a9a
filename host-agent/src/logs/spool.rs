//! A destination's own queue on disk, for the time in which journald is about to delete what the destination lacks.
//!
//! In: batches that cannot be sent yet, those in flight first. Out: the same batches, oldest first. Used by one pipeline's
//! thread; empty, and without files, almost always: journald is the queue.
//!
//! ```text
//! DIRECTORY/00000000000000000013.spool     named by its first batch
//!   length (u32) · crc32c (u32) · batch    again and again; see record
//! ```
//!
//! **Invariants**: a batch counts as kept when it was synced, not before; a segment's end that was not written whole is cut
//! off and counted, never a reason to stop; the size is bounded, and what gives way is the oldest segment, batch by batch
//! accounted for. **Absent**: which batches were delivered; the saved position says that by number.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use crate::logs::batch::Batch;

mod record;
mod segment;

use segment::Segment;

/// A segment is closed at this share of the spool's bound, so that giving way costs that much at the most.
const SEGMENTS: u64 = 16;

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step} the spool's {}", file.display())]
pub struct SpoolError {
    step: &'static str,
    file: PathBuf,
    #[source]
    source: io::Error,
}

impl SpoolError {
    fn at(step: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { step, file: file.to_owned(), source }
    }
}

/// What was found at the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Batches that are whole and not delivered, without their records.
    pub batches: Vec<Batch>,
    /// Places at which something was cut off because it was not written whole or not readable.
    pub damaged: u64,
}

/// The queue.
#[derive(Debug)]
pub struct Spool {
    directory: PathBuf,
    bound: u64,
    segments: VecDeque<Segment>,
    /// The next batch to hand out.
    next: u64,
}

impl Spool {
    /// Opens the folder and looks through what is there; what is delivered is removed.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn open(directory: &Path, bound: u64, delivered: u64) -> Result<(Self, Found), SpoolError> {
        let mut spool = Self {
            directory: directory.to_owned(),
            bound,
            segments: VecDeque::new(),
            next: delivered.saturating_add(1),
        };
        let mut found = Found::default();
        for file in segment::files(directory)? {
            let (segment, heads, damaged) = Segment::open(file)?;
            found.batches.extend(heads.into_iter().filter(|head| head.number > delivered));
            found.damaged = found.damaged.saturating_add(u64::from(damaged));
            spool.segments.push_back(segment);
        }
        spool.delivered(delivered)?;
        Ok((spool, found))
    }

    /// Whether every batch was handed out. Those that were may still be in flight.
    pub fn is_drained(&self) -> bool {
        self.segments.back().and_then(Segment::last).is_none_or(|last| last < self.next)
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(Segment::bytes).sum()
    }

    /// Keeps a batch: when this returns it survives a power cut.
    ///
    /// # Errors
    /// When it cannot be written or synced: then it is not kept, and what was before is as it was.
    pub fn append(&mut self, batch: &Batch) -> Result<(), SpoolError> {
        let needs_new = self
            .segments
            .back()
            .is_none_or(|segment| segment.bytes() >= (self.bound / SEGMENTS).max(1));
        if needs_new {
            let segment = Segment::create(&self.directory, batch.number)?;
            self.segments.push_back(segment);
        }
        let appended = self.segments.back_mut().map_or(Ok(()), |segment| segment.append(batch));
        if needs_new && appended.is_err() {
            // An empty segment would be found at the next start, and takes the name of the next try.
            if let Some(segment) = self.segments.pop_back() {
                segment.remove()?;
            }
        }
        appended
    }

    /// Says that a batch before which nothing waits was sent without the spool, so that it is not handed out.
    pub fn skip_through(&mut self, number: u64) {
        self.next = self.next.max(number.saturating_add(1));
    }

    /// The oldest batch that was not handed out yet.
    ///
    /// # Errors
    /// When its segment cannot be read.
    pub fn take(&mut self) -> Result<Option<Batch>, SpoolError> {
        for segment in &self.segments {
            if segment.last().is_some_and(|last| last >= self.next)
                && let Some(batch) = segment.read(self.next)?
            {
                self.next = batch.number.saturating_add(1);
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Removes the segments whose batches are all delivered.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn delivered(&mut self, number: u64) -> Result<(), SpoolError> {
        while let Some(segment) = self.segments.front()
            && segment.last().is_none_or(|last| last <= number)
        {
            if let Some(segment) = self.segments.pop_front() {
                segment.remove()?;
            }
        }
        Ok(())
    }

    /// When more is kept than the bound allows: gives up the oldest segment of which nothing was handed out yet, and says
    /// which batches it had, without their records. What was handed out may be on its way and is kept until it is delivered.
    ///
    /// # Errors
    /// When a segment cannot be read or removed.
    pub fn give_way(&mut self) -> Result<Vec<Batch>, SpoolError> {
        if self.bytes() <= self.bound {
            return Ok(Vec::new());
        }
        let is_waiting =
            |segment: &Segment| segment.first().is_some_and(|first| first >= self.next);
        let Some(index) = self.segments.iter().position(is_waiting) else { return Ok(Vec::new()) };
        // The newest segment says where reading goes on after a restart.
        if index.saturating_add(1) >= self.segments.len() {
            return Ok(Vec::new());
        }
        let Some(oldest) = self.segments.remove(index) else { return Ok(Vec::new()) };
        let lost = oldest.heads()?;
        if let Some(last) = oldest.last() {
            self.skip_through(last);
        }
        oldest.remove()?;
        Ok(lost)
    }
}

#[cfg(test)]
mod tests;
