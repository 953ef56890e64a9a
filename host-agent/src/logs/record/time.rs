//! Times as people and JSON outputs write them: RFC 3339 in UTC.

use std::fmt;

const NS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Nanoseconds since the epoch, shown as `2026-11-29T09:30:00.123456789Z`; zeros at the end of the fraction are left out
/// in threes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rfc3339(pub u64);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ns) = (self.0 / NS, self.0 % NS);
        let (year, month, day) = date(seconds / DAY);
        let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match ns {
            0 => write!(f, "Z"),
            ns if ns % 1_000_000 == 0 => write!(f, ".{:03}Z", ns / 1_000_000),
            ns if ns % 1_000 == 0 => write!(f, ".{:06}Z", ns / 1_000),
            ns => write!(f, ".{ns:09}Z"),
        }
    }
}

/// The Gregorian date of a day since 1970-01-01: counted in years that begin in March, so that the leap day is the last.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, after) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + after, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400 * NS, "2000-02-29T00:00:00Z"),
            (1_795_287_947 * NS + 309_244_000, "2026-11-21T19:05:47.309244Z"),
            (4_107_542_400 * NS + 1, "2100-03-01T00:00:00.000000001Z"),
            (1_609_459_199 * NS + 500_000_000, "2020-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(Rfc3339(ns).to_string(), text);
        }
    }
}
