//! What a journal's cursor says. Pure.
//!
//! A cursor is `s=…;i=…;b=…;m=…;t=…;x=…`, all hexadecimal: the sequence that numbers entries (a new one begins when journald
//! cannot go on with its files), the entry's number in it, the boot, monotonic and wall-clock microseconds, and a hash of the
//! fields. systemd promises nothing of its form, but has not changed it since it exists; one that cannot be read is an error.

use std::fmt;

use crate::logs::entry::RecordId;

/// One entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The sequence's id, `s=`.
    pub(super) sequence: u128,
    /// The number in it, `i=`; counts up by one, over all files of the sequence.
    pub(super) number: u64,
    /// The boot, `b=`.
    pub(super) boot: u128,
    /// Microseconds since the boot, `m=`.
    pub(super) monotonic_us: u64,
    /// Microseconds since the epoch, `t=`.
    pub(super) realtime_us: u64,
    /// Hash of the fields, `x=`: the same in every file that has the entry.
    pub(super) hash: u64,
}

/// A text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no cursor of the journal")]
pub struct CursorError {
    text: String,
}

impl Cursor {
    /// Reads one.
    ///
    /// # Errors
    /// When a part is missing or not hexadecimal.
    pub(super) fn parse(text: &str) -> Result<Self, CursorError> {
        parse(text).ok_or_else(|| CursorError { text: text.to_owned() })
    }

    /// The entry's name for good.
    pub(super) fn id(&self) -> RecordId {
        RecordId { sequence: self.sequence, number: self.number }
    }

    /// Whether both are one entry, be it that journald copied it into another sequence (`journalctl --flush`).
    pub(super) fn is_same_entry(&self, other: &Self) -> bool {
        if self.sequence == other.sequence {
            return self.number == other.number;
        }
        self.boot == other.boot
            && self.monotonic_us == other.monotonic_us
            && self.realtime_us == other.realtime_us
            && self.hash == other.hash
    }

    /// Whether it stands at `other` or before it, in the order in which libsystemd reads: by number within a sequence, else
    /// by the boot's clock within a boot, else by the wall clock.
    pub(super) fn is_at_or_before(&self, other: &Self) -> bool {
        if self.sequence == other.sequence {
            self.number <= other.number
        } else if self.boot == other.boot {
            self.monotonic_us < other.monotonic_us || self.is_same_entry(other)
        } else {
            self.realtime_us < other.realtime_us
        }
    }
}

fn parse(text: &str) -> Option<Cursor> {
    let (mut sequence, mut number, mut boot) = (None, None, None);
    let (mut monotonic_us, mut realtime_us, mut hash) = (None, None, None);
    for part in text.split(';') {
        let (name, digits) = part.split_once('=')?;
        match name {
            "s" => sequence = hexadecimal(digits),
            "b" => boot = hexadecimal(digits),
            "i" => number = short(digits),
            "m" => monotonic_us = short(digits),
            "t" => realtime_us = short(digits),
            "x" => hash = short(digits),
            _ => {}
        }
    }
    Some(Cursor {
        sequence: sequence?,
        number: number?,
        boot: boot?,
        monotonic_us: monotonic_us?,
        realtime_us: realtime_us?,
        hash: hash?,
    })
}

fn short(digits: &str) -> Option<u64> {
    u64::try_from(hexadecimal(digits)?).ok()
}

/// In two halves, because arithmetic on 128 bits is slow and this runs for every entry.
fn hexadecimal(digits: &str) -> Option<u128> {
    if digits.is_empty() || digits.len() > 32 {
        return None;
    }
    let halves = digits.split_at_checked(digits.len().saturating_sub(16))?;
    let mut value = [0_u64; 2];
    for (half, value) in [halves.0, halves.1].into_iter().zip(&mut value) {
        for byte in half.bytes() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => byte - b'A' + 10,
                _ => return None,
            };
            *value = (*value << 4) | u64::from(digit);
        }
    }
    let [high, low] = value;
    Some((u128::from(high) << 64) | u128::from(low))
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sequence, number, boot, monotonic_us, realtime_us, hash } = self;
        write!(f, "s={sequence:032x};i={number:x};b={boot:032x};")?;
        write!(f, "m={monotonic_us:x};t={realtime_us:x};x={hash:x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "s=423f2cab000000000000000000000001;i=16a;b=c77c0000000000000000000000000002;\
                        m=36d72832;t=660ce0c5e70bc;x=a59d79610698c7b2";

    #[test]
    fn a_cursor_is_read_and_written_without_change() {
        let cursor = Cursor::parse(TEXT).unwrap();
        assert_eq!(
            cursor,
            Cursor {
                sequence: 0x423f_2cab_0000_0000_0000_0000_0000_0001,
                number: 0x16a,
                boot: 0xc77c_0000_0000_0000_0000_0000_0000_0002,
                monotonic_us: 0x36d7_2832,
                realtime_us: 0x6_60ce_0c5e_70bc,
                hash: 0xa59d_7961_0698_c7b2,
            }
        );
        assert_eq!(cursor.to_string(), TEXT);
    }

    #[test]
    fn what_lacks_a_part_is_no_cursor() {
        for text in [
            "",
            "head",
            "s=1;i=2",
            &TEXT.replace("36d72832", "x"),
            TEXT.rsplit_once(';').unwrap().0,
        ] {
            assert!(Cursor::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn order_is_by_number_then_by_the_boot_s_clock_then_by_the_wall_clock() {
        let base = Cursor::parse(TEXT).unwrap();
        let clock_set_back = Cursor { number: base.number + 1, realtime_us: 5, ..base };
        assert!(base.is_at_or_before(&clock_set_back) && !clock_set_back.is_at_or_before(&base));
        let other_sequence = Cursor { sequence: 9, number: 1, realtime_us: 5, hash: 1, ..base };
        let later = Cursor { monotonic_us: base.monotonic_us + 1, ..other_sequence };
        assert!(base.is_at_or_before(&later) && !later.is_at_or_before(&base));
        let other_boot = Cursor { boot: 1, realtime_us: base.realtime_us + 1, ..other_sequence };
        assert!(base.is_at_or_before(&other_boot) && !other_boot.is_at_or_before(&base));
    }

    #[test]
    fn a_copy_in_another_sequence_is_the_same_entry() {
        let base = Cursor::parse(TEXT).unwrap();
        let copy = Cursor { sequence: 7, number: 1, ..base };
        assert!(copy.is_same_entry(&base) && copy.is_at_or_before(&base));
        assert!(!Cursor { hash: 1, ..copy }.is_same_entry(&base));
    }
}
