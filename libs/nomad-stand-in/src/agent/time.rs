//! Times as Nomad writes them: nanoseconds since 1970, or RFC 3339 in UTC.

use super::job::Nanos;

pub(crate) const SECOND: Nanos = 1_000_000_000;
/// Go's zero time, which Nomad writes where a time is not known.
pub(crate) const NEVER: &str = "0001-01-01T00:00:00Z";

/// A time in RFC 3339; 0 is Go's zero time.
pub(crate) fn rfc3339(nanos: Nanos) -> String {
    if nanos == 0 {
        return NEVER.to_owned();
    }
    let (seconds, fraction) = (nanos.div_euclid(SECOND), nanos.rem_euclid(SECOND));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:09}Z")
}

/// Year, month and day of a day counted from 1970-01-01 (the proleptic Gregorian calendar, in eras of 400 years).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// A duration as Go prints one: `1s`, `1m30s`, `24h0m0s`, `500ms`.
pub(crate) fn go_duration(nanos: Nanos) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < SECOND {
        return format!("{}ms", nanos / 1_000_000);
    }
    let (seconds, millis) = (nanos / SECOND, nanos % SECOND / 1_000_000);
    let (hours, minutes, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let second = if millis == 0 {
        format!("{second}s")
    } else {
        format!("{second}.{millis:03}s").replace("00s", "s").replace("0s", "s")
    };
    match (hours, minutes) {
        (0, 0) => second,
        (0, _) => format!("{minutes}m{second}"),
        _ => format!("{hours}h{minutes}m{second}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, NEVER),
            (1, "1970-01-01T00:00:00.000000001Z"),
            (951_782_400 * SECOND, "2000-02-29T00:00:00.000000000Z"),
            (1_796_000_000 * SECOND, "2026-11-30T00:53:20.000000000Z"),
        ] {
            assert_eq!(rfc3339(nanos), text);
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (nanos, text) in [
            (0, "0s"),
            (500_000_000, "500ms"),
            (SECOND, "1s"),
            (10 * SECOND, "10s"),
            (90 * SECOND, "1m30s"),
            (1_500_000_000, "1.5s"),
            (86_400 * SECOND, "24h0m0s"),
        ] {
            assert_eq!(go_duration(nanos), text);
        }
    }
}
