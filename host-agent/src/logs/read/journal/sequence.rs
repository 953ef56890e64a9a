//! Losses by numbers: which entries were read, and which are missing between two. Pure.
//!
//! journald numbers entries without holes, over all files of a sequence: system, users, archived. So, as long as everything
//! is read, a jump is a loss, whether the missing entries were vacuumed or lie in a damaged part. With `matches` a jump is
//! usual; then a number counts as lost only when it lies in no file that is there, and was not passed before: what the
//! journal held when the reader came to its end was passed, whether it matched or not.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::files::Listing;
use crate::logs::read::LossCause;

/// How far each sequence was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequences {
    passed: BTreeMap<u128, u64>,
    /// Last numbers that files had when they were last listed.
    tails: BTreeMap<u128, u64>,
    last: Option<Cursor>,
}

/// What an entry is to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    /// It follows.
    Next,
    /// It was read before: files repeat an entry at their borders.
    Repeated,
    /// Numbers are missing before it.
    Jump {
        /// The first one that is missing.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// It follows in another sequence; the one before may have ended, or be gone with entries that were not read.
    Switch {
        /// The sequence before.
        from: u128,
    },
}

/// A number of entries that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    /// How many.
    pub(super) entries: u64,
    /// Why.
    pub(super) cause: LossCause,
}

impl Sequences {
    /// Takes a saved position as passed.
    pub(super) fn begin_after(&mut self, cursor: Cursor) {
        self.accept(cursor);
    }

    /// Takes whatever comes next as the first entry.
    pub(super) fn forget(&mut self) {
        *self = Self { tails: std::mem::take(&mut self.tails), ..Self::default() };
    }

    /// Compares the entry that comes next; [`Self::accept`] it when it follows.
    pub(super) fn compare(&self, next: &Cursor) -> Passage {
        let Some(last) = &self.last else { return Passage::Next };
        if next.is_same_entry(last) {
            return Passage::Repeated;
        }
        if let Some(passed) = self.passed.get(&next.sequence) {
            // Numbers may come twice after a crash of journald, with other entries: only what is not newer was read before.
            if next.number <= *passed
                && next.sequence == last.sequence
                && next.boot == last.boot
                && next.monotonic_us <= last.monotonic_us
            {
                return Passage::Repeated;
            }
            if next.number > passed.saturating_add(1) {
                return Passage::Jump { from: passed + 1, to: next.number - 1 };
            }
        }
        if next.sequence == last.sequence {
            return Passage::Next;
        }
        Passage::Switch { from: last.sequence }
    }

    /// Counts an entry as read.
    pub(super) fn accept(&mut self, cursor: Cursor) {
        self.pass(cursor.sequence, cursor.number);
        self.last = Some(cursor);
    }

    /// Counts all numbers of a sequence up to this one as passed.
    pub(super) fn pass(&mut self, sequence: u128, number: u64) {
        let passed = self.passed.entry(sequence).or_insert(number);
        *passed = number.max(*passed);
    }

    /// Remembers what files hold, so that it is known later what they held.
    pub(super) fn note(&mut self, listing: &Listing) {
        for (sequence, tail) in listing.tails() {
            self.tails.insert(sequence, tail);
        }
    }

    /// Counts all that files held when `tails` were listed as passed: everything up to then was read or did not match.
    pub(super) fn pass_all(&mut self, tails: &BTreeMap<u128, u64>) {
        for (sequence, tail) in tails {
            self.pass(*sequence, *tail);
        }
    }

    /// What a jump comes to, given the files that are there.
    pub(super) fn judge(
        &self,
        sequence: u128,
        (from, to): (u64, u64),
        listing: &Listing,
        is_filtered: bool,
    ) -> Vec<Missing> {
        let gone = listing.missing(sequence, from, to);
        let damaged = if is_filtered { 0 } else { (to + 1 - from).saturating_sub(gone) };
        let found = [
            Missing { entries: gone, cause: LossCause::Vacuumed },
            Missing { entries: damaged, cause: LossCause::Damaged },
        ];
        found.into_iter().filter(|missing| missing.entries > 0).collect()
    }

    /// What was not read of a sequence that is gone as a whole, as far as it was ever listed.
    pub(super) fn rest(&mut self, sequence: u128, listing: &Listing) -> Option<Missing> {
        if listing.files.iter().any(|file| file.header.sequence == sequence) {
            return None;
        }
        let (passed, tail) = (self.passed.remove(&sequence)?, self.tails.remove(&sequence)?);
        let entries = tail.checked_sub(passed).filter(|entries| *entries > 0)?;
        Some(Missing { entries, cause: LossCause::Vacuumed })
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::{Header, JournalFile};
    use super::*;

    fn cursor(sequence: u128, number: u64) -> Cursor {
        Cursor {
            sequence,
            number,
            boot: 1,
            monotonic_us: number,
            realtime_us: number,
            hash: number,
        }
    }

    fn listing(ranges: &[(u128, u64, u64)]) -> Listing {
        let file = |&(sequence, head, tail): &(u128, u64, u64)| JournalFile {
            path: std::path::PathBuf::new(),
            size: 0,
            is_closed: true,
            header: Header {
                sequence,
                boot: 1,
                head,
                tail,
                entries: tail + 1 - head,
                head_us: 0,
                tail_us: 0,
                is_archived: true,
            },
        };
        Listing { files: ranges.iter().map(file).collect() }
    }

    #[test]
    fn entries_follow_by_their_numbers() {
        let mut sequences = Sequences::default();
        assert_eq!(sequences.compare(&cursor(1, 7)), Passage::Next);
        sequences.accept(cursor(1, 7));
        assert_eq!(sequences.compare(&cursor(1, 7)), Passage::Repeated);
        assert_eq!(sequences.compare(&cursor(1, 5)), Passage::Repeated);
        assert_eq!(sequences.compare(&cursor(1, 8)), Passage::Next);
        assert_eq!(sequences.compare(&cursor(1, 10)), Passage::Jump { from: 8, to: 9 });
        assert_eq!(sequences.compare(&cursor(2, 90)), Passage::Switch { from: 1 });
    }

    #[test]
    fn a_lower_number_that_was_written_later_is_an_entry_of_its_own() {
        let mut sequences = Sequences::default();
        sequences.accept(cursor(1, 7));
        let later = Cursor { monotonic_us: 100, hash: 3, ..cursor(1, 6) };
        assert_eq!(sequences.compare(&later), Passage::Next);
    }

    #[test]
    fn a_clock_that_was_set_back_changes_nothing() {
        let mut sequences = Sequences::default();
        sequences.accept(cursor(1, 7));
        let next = Cursor { realtime_us: 1, ..cursor(1, 8) };
        assert_eq!(sequences.compare(&next), Passage::Next);
    }

    #[test]
    fn a_jump_is_vacuumed_where_no_file_is_and_damaged_where_one_is() {
        let sequences = Sequences::default();
        let files = listing(&[(1, 50, 100)]);
        let vacuumed = Missing { entries: 42, cause: LossCause::Vacuumed };
        let damaged = Missing { entries: 5, cause: LossCause::Damaged };
        assert_eq!(sequences.judge(1, (8, 54), &files, false), [vacuumed, damaged]);
        assert_eq!(sequences.judge(1, (8, 54), &files, true), [vacuumed]);
        assert_eq!(sequences.judge(1, (60, 70), &files, true), []);
    }

    #[test]
    fn what_was_passed_without_a_match_is_not_lost_when_it_is_vacuumed() {
        let mut sequences = Sequences::default();
        sequences.accept(cursor(1, 7));
        sequences.pass_all(&listing(&[(1, 1, 90)]).tails());
        assert_eq!(sequences.compare(&cursor(1, 100)), Passage::Jump { from: 91, to: 99 });
    }

    #[test]
    fn the_rest_of_a_sequence_that_is_gone_is_known_from_its_last_listing() {
        let mut sequences = Sequences::default();
        sequences.accept(cursor(1, 7));
        sequences.note(&listing(&[(1, 1, 90)]));
        assert_eq!(sequences.rest(1, &listing(&[(1, 80, 90)])), None);
        let rest = sequences.rest(1, &listing(&[(2, 1, 5)]));
        assert_eq!(rest, Some(Missing { entries: 83, cause: LossCause::Vacuumed }));
        assert_eq!(sequences.rest(1, &listing(&[])), None);
    }
}
