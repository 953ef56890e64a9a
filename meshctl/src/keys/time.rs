//! Times as operators write and read them: lengths with days, moments in UTC.

use std::str::FromStr;

use contract::duration::Span;
use prost_types::Timestamp;

/// A length of time: what documents take, and days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length(u64);

impl Length {
    /// That long after a moment.
    pub(super) const fn after(self, moment: u64) -> u64 {
        moment.saturating_add(self.0)
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
        if let Some(days) = days {
            return Ok(Self(u64::from(days) * 86_400));
        }
        let span: Result<Span, _> = text.parse();
        let span = span.map_err(|_| "write a whole number and d, h, m or s, such as 90d")?;
        Ok(Self(span.as_duration().as_secs()))
    }
}

/// A moment, in seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instant(pub(super) u64);

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write a day or moment in UTC, such as 2027-01-31 or 2027-01-31T12:00:00Z";
        let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
        let moment: Timestamp = whole.parse().map_err(|_| form)?;
        u64::try_from(moment.seconds).map(Self).map_err(|_| form.to_owned())
    }
}

/// A moment for people and programs (RFC 3339).
pub(super) fn text(seconds: u64) -> String {
    Timestamp { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_days_and_moments_read_back() {
        for (text, seconds) in [("90d", 7_776_000), ("36h", 129_600), ("0s", 0)] {
            assert_eq!(text.parse::<Length>().map(|length| length.after(0)), Ok(seconds));
        }
        for bad in ["", "d", "-1d", "1w", "90", "1.5d"] {
            assert!(bad.parse::<Length>().is_err(), "{bad}");
        }
        assert_eq!("2027-01-31".parse(), Ok(Instant(1_801_353_600)));
        assert_eq!(text(1_801_353_600), "2027-01-31T00:00:00Z");
        assert_eq!("2027-01-31T00:00:00Z".parse(), Ok(Instant(1_801_353_600)));
        for bad in ["tomorrow", "2027-13-01", "1970-01-01T00:00", "1969-12-31"] {
            assert!(bad.parse::<Instant>().is_err(), "{bad}");
        }
    }
}
