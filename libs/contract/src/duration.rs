//! Durations as people write them in documents: `250ms`, `2s`, `5m`, `1h`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A length of time written as a whole number and a unit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = r"^[0-9]{1,9}(ms|s|m|h)$"))]
pub struct Span(Duration);

/// Why a string is not a [`Span`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a duration: write a whole number and ms, s, m or h, such as 250ms or 2s")]
pub struct SpanError {
    /// What was given.
    pub value: String,
}

impl Span {
    /// The same length as the standard library has it.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    /// Keeps whole milliseconds.
    fn from(value: Duration) -> Self {
        Self(Duration::from_millis(u64::try_from(value.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(value: &str) -> Result<Self, SpanError> {
        let error = || SpanError { value: value.to_owned() };
        let digits = value.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = value.split_at_checked(digits).ok_or_else(error)?;
        if number.len() > 9 {
            return Err(error());
        }
        let number: u64 = number.parse().map_err(|_| error())?;
        let millis = match unit {
            "ms" => number,
            "s" => number * 1_000,
            "m" => number * 60_000,
            "h" => number * 3_600_000,
            _ => return Err(error()),
        };
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;

    fn try_from(value: String) -> Result<Self, SpanError> {
        value.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => f.write_str("0s"),
            _ if millis.is_multiple_of(3_600_000) => write!(f, "{}h", millis / 3_600_000),
            _ if millis.is_multiple_of(60_000) => write!(f, "{}m", millis / 60_000),
            _ if millis.is_multiple_of(1_000) => write!(f, "{}s", millis / 1_000),
            _ => write!(f, "{millis}ms"),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_and_prints_in_the_largest_whole_unit() {
        for (written, printed) in
            [("250ms", "250ms"), ("2000ms", "2s"), ("90s", "90s"), ("120s", "2m"), ("0s", "0s")]
        {
            assert_eq!(written.parse::<Span>().map(|s| s.to_string()), Ok(printed.to_owned()));
        }
        for bad in ["", "5", "s", "-1s", "1.5s", "9999999999ms", "5 s", "5d"] {
            assert!(bad.parse::<Span>().is_err(), "{bad:?}");
        }
    }
}
