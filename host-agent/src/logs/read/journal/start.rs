//! How reading is taken up at a saved position. Pure: facts in, a plan out.
//!
//! libsystemd seeks by number within a sequence, by the boot's clock within a boot, and only else by the wall clock. So a seek
//! is safe unless the machine was booted anew, journald began a new sequence, *and* the wall clock is behind the position:
//! a battery-less board, a restored virtual machine, a volatile journal. Then everything of the new boot would stand "before"
//! the position, and nothing would ever come. That case is recognised, and this boot's entries are read as a whole.

use std::collections::BTreeMap;

use super::cursor::Cursor;

/// What the journal looks like when reading begins.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The boot that runs.
    pub(super) boot: u128,
    /// Its first entry in this journal.
    pub(super) first_of_boot: Option<Cursor>,
    /// The last entry of the journal, in libsystemd's order.
    pub(super) last: Option<Cursor>,
    /// The last number of each sequence that files have.
    pub(super) tails: BTreeMap<u128, u64>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Seek to the position.
    Seek {
        /// The journal of the position is gone: what it held beyond the position cannot be counted.
        is_replaced: bool,
    },
    /// The clock was set back, or another journal is in place of this one: read the entries of this boot only.
    ThisBoot {
        /// First the older boots' entries that follow the position.
        is_rest_first: bool,
        /// As in `Seek`.
        is_replaced: bool,
    },
    /// The position lies beyond everything that there is, and belongs to nothing of it: read the whole journal.
    Whole,
}

/// Decides where to begin.
pub(super) fn plan(saved: &Cursor, facts: &Facts) -> Plan {
    let tail = facts.tails.get(&saved.sequence);
    let is_replaced = tail.is_none();
    // A restored image of the machine: the same sequence, with lower numbers.
    let is_rolled_back = tail.is_some_and(|tail| saved.number > *tail);
    let is_this_boot = saved.boot == facts.boot;
    match &facts.first_of_boot {
        Some(first) if is_this_boot => {
            let is_older_later = facts.last.is_some_and(|last| last.boot != facts.boot);
            if is_older_later && first.sequence != facts.last.map_or(0, |last| last.sequence) {
                Plan::ThisBoot { is_rest_first: false, is_replaced }
            } else {
                Plan::Seek { is_replaced }
            }
        }
        Some(first) => {
            let is_hidden =
                first.sequence != saved.sequence && first.realtime_us <= saved.realtime_us;
            if is_hidden || (is_rolled_back && first.sequence == saved.sequence) {
                Plan::ThisBoot { is_rest_first: !is_rolled_back, is_replaced }
            } else {
                Plan::Seek { is_replaced }
            }
        }
        None => {
            let is_beyond = facts.last.is_none_or(|last| last.realtime_us < saved.realtime_us);
            if is_replaced && is_beyond { Plan::Whole } else { Plan::Seek { is_replaced } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(sequence: u128, number: u64, boot: u128, realtime_us: u64) -> Cursor {
        Cursor { sequence, number, boot, monotonic_us: number, realtime_us, hash: number }
    }

    fn facts(
        boot: u128,
        first: Option<Cursor>,
        last: Option<Cursor>,
        tails: &[(u128, u64)],
    ) -> Facts {
        Facts { boot, first_of_boot: first, last, tails: tails.iter().copied().collect() }
    }

    #[test]
    fn a_position_in_a_sequence_that_is_there_is_sought() {
        let saved = cursor(1, 50, 1, 1000);
        let last = cursor(1, 90, 2, 1400);
        let usual = facts(2, Some(cursor(1, 70, 2, 1300)), Some(last), &[(1, 90)]);
        assert_eq!(plan(&saved, &usual), Plan::Seek { is_replaced: false });
        let same_sequence_clock_back = facts(2, Some(cursor(1, 70, 2, 10)), Some(last), &[(1, 90)]);
        assert_eq!(plan(&saved, &same_sequence_clock_back), Plan::Seek { is_replaced: false });
        let new_sequence = facts(2, Some(cursor(9, 1, 2, 1300)), Some(last), &[(1, 60), (9, 5)]);
        assert_eq!(plan(&saved, &new_sequence), Plan::Seek { is_replaced: false });
    }

    #[test]
    fn a_new_boot_behind_the_position_is_read_whole_after_the_rest_of_the_old_one() {
        let saved = cursor(1, 50, 1, 1000);
        let first = cursor(9, 1, 2, 10);
        let back = facts(2, Some(first), Some(cursor(1, 60, 1, 1100)), &[(1, 60), (9, 5)]);
        let expected = Plan::ThisBoot { is_rest_first: true, is_replaced: false };
        assert_eq!(plan(&saved, &back), expected);
        let volatile = facts(2, Some(first), Some(cursor(9, 5, 2, 20)), &[(9, 5)]);
        let expected = Plan::ThisBoot { is_rest_first: true, is_replaced: true };
        assert_eq!(plan(&saved, &volatile), expected);
    }

    #[test]
    fn within_that_boot_older_boots_do_not_come_again() {
        let saved = cursor(9, 3, 2, 15);
        let first = cursor(9, 1, 2, 10);
        let back = facts(2, Some(first), Some(cursor(1, 60, 1, 1100)), &[(1, 60), (9, 5)]);
        let expected = Plan::ThisBoot { is_rest_first: false, is_replaced: false };
        assert_eq!(plan(&saved, &back), expected);
    }

    #[test]
    fn a_restored_machine_s_boot_is_read_whole() {
        let saved = cursor(1, 500, 1, 1000);
        let restored =
            facts(2, Some(cursor(1, 70, 2, 2000)), Some(cursor(1, 90, 2, 2100)), &[(1, 90)]);
        let expected = Plan::ThisBoot { is_rest_first: false, is_replaced: false };
        assert_eq!(plan(&saved, &restored), expected);
    }

    #[test]
    fn a_position_of_the_future_and_of_another_journal_does_not_wait_for_ever() {
        let saved = cursor(1, 50, 1, 1000);
        let other = facts(7, None, Some(cursor(2, 9, 2, 900)), &[(2, 9)]);
        assert_eq!(plan(&saved, &other), Plan::Whole);
        let empty = facts(7, None, None, &[]);
        assert_eq!(plan(&saved, &empty), Plan::Whole);
    }
}
