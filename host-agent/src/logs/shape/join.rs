//! Entries that belong together: Docker's fragments of a long line ([`partial`]), then lines of a stack trace ([`multiline`]).
//!
//! What waits here is open: its first entry's cursor is saved, and after a restart it is read again (see
//! [`crate::logs::position`]). So each open thing keeps its first entry, its place in the order of reading, and its deadline.

pub(super) mod multiline;
pub(super) mod partial;

use crate::logs::shape::text::Marks;

/// How a message came together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    /// Entries it was made of.
    pub(super) entries: u32,
    /// Bytes that were left out because it became too long.
    pub(super) cut: u64,
    /// What is to be said of it.
    pub(super) remarks: Remarks,
}

/// A set of what can be said of a message that was joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Remarks(u8);

impl Remarks {
    /// A fragment is missing, or none came in time.
    pub(super) const INCOMPLETE: Self = Self(1);
    /// Fragments came in another order than they were written in.
    pub(super) const REORDERED: Self = Self(2);
    /// Its lines go on in the next record, because it became too long.
    pub(super) const SPLIT: Self = Self(4);
    /// It goes on where the record before was split.
    pub(super) const CONTINUED: Self = Self(8);
    /// It was sent before its time, to make room.
    pub(super) const EARLY: Self = Self(16);

    /// Both.
    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether the other is in this one.
    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Joined {
    /// One entry.
    pub(super) const ONE: Self = Self { entries: 1, cut: 0, remarks: Remarks(0) };

    /// Takes up another line.
    pub(super) fn add(&mut self, other: Self) {
        self.entries = self.entries.saturating_add(other.entries);
        self.cut += other.cut;
        self.remarks.add(other.remarks);
    }

    /// Says it in marks.
    pub(super) fn mark(&self, marks: &mut Marks) {
        if self.entries > 1 {
            marks.add("joined");
        }
        for (remark, mark) in [
            (Remarks::INCOMPLETE, "incomplete"),
            (Remarks::REORDERED, "reordered"),
            (Remarks::SPLIT, "split"),
            (Remarks::CONTINUED, "continued"),
            (Remarks::EARLY, "sent_early"),
        ] {
            if self.remarks.has(remark) {
                marks.add(mark);
            }
        }
    }
}
