//! Numbers: values, timestamps, and what a bucket's bound looks like in OpenMetrics.

/// A value as Prometheus reads it; `None`: it is no number.
///
/// Go's hexadecimal floats and underscores are refused there too, and a number out of range is no infinity.
pub(in crate::relay) fn number(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let is_named = text.iter().any(|byte| matches!(byte, b'n' | b'N'));
    (value.is_finite() || is_named).then_some(value)
}

/// Whether a value can stay as it is written, or how it is written in every format; `None`: it is no number.
pub(super) fn spelling(text: &[u8]) -> Option<Spelling> {
    // Most values are short whole numbers, which need no parsing.
    if text.len() <= 18 && !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
        return Some(Spelling::AsIs);
    }
    let value = number(text)?;
    Some(match text {
        b"+Inf" | b"-Inf" | b"NaN" => Spelling::AsIs,
        _ if value.is_nan() => Spelling::Other("NaN"),
        _ if value == f64::INFINITY => Spelling::Other("+Inf"),
        _ if value == f64::NEG_INFINITY => Spelling::Other("-Inf"),
        _ => Spelling::AsIs,
    })
}

/// How a value is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As the body writes it.
    AsIs,
    /// A name of infinity or of no number, in its one spelling.
    Other(&'static str),
}

/// Seconds with a fraction → milliseconds; `None` when it is no time.
pub(super) fn seconds_to_ms(text: &[u8]) -> Option<i64> {
    let seconds = number(text).filter(|seconds| seconds.is_finite())?;
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as far as time goes")]
    Some((seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_prometheus() {
        for (text, expected) in
            [("1", 1.0), ("1.", 1.0), (".5", 0.5), ("+1e-3", 0.001), ("-Inf", f64::NEG_INFINITY)]
        {
            assert_eq!(number(text.as_bytes()), Some(expected), "{text}");
        }
        assert!(number(b"nan").is_some_and(f64::is_nan));
        for text in ["", "0x1p-2", "1_000", "1e999", "1\r", "one", "--1", "1e"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn names_of_numbers_get_one_spelling() {
        assert_eq!(spelling(b"inf"), Some(Spelling::Other("+Inf")));
        assert_eq!(spelling(b"-infinity"), Some(Spelling::Other("-Inf")));
        assert_eq!(spelling(b"nan"), Some(Spelling::Other("NaN")));
        assert_eq!(spelling(b"12345678901234567890"), Some(Spelling::AsIs));
        assert_eq!(spelling(b"12x"), None);
    }

    #[test]
    fn times_have_milliseconds() {
        assert_eq!(seconds_to_ms(b"1520879607.789"), Some(1_520_879_607_789));
        assert_eq!(seconds_to_ms(b"-1"), Some(-1000));
        assert_eq!(seconds_to_ms(b"NaN"), None);
        assert_eq!(seconds_to_ms(b"1e300"), Some(i64::MAX));
    }
}
