//! Numbers as JSON writes them: which of them a 64-bit integer or a double stands for exactly.

use super::Node;

/// Doubles keep this many decimal digits whatever they are.
const SURE_DIGITS: usize = 15;
/// More digits than these no double needs.
const MOST_DIGITS: usize = 17;
/// Exponents within which that holds.
const SURE_EXPONENT: i32 = 290;

/// The node for a number of JSON's grammar, or `None` when digits would be lost: then it is sent as text.
pub(super) fn exact(number: &str) -> Option<Node> {
    if number == "-0" {
        return Some(Node::Float(-0.0));
    }
    if !number.contains(['.', 'e', 'E']) {
        let signed = number.parse().ok().map(Node::Integer);
        return signed.or_else(|| number.parse().ok().map(Node::Unsigned));
    }
    let value: f64 = number.parse().ok()?;
    let written = Decimal::read(number)?;
    let count = written.digits.len();
    let is_exact = match count {
        ..=SURE_DIGITS if written.exponent.abs() <= SURE_EXPONENT => true,
        ..=MOST_DIGITS => {
            let same_length = format!("{value:.*e}", count.saturating_sub(1));
            Decimal::read(&same_length)? == written
        }
        _ => false,
    };
    is_exact.then_some(Node::Float(value))
}

/// A number's digits without leading and trailing zeros, and where its point is: 0.DIGITS × 10^exponent.
#[derive(PartialEq)]
struct Decimal {
    digits: Vec<u8>,
    exponent: i32,
}

impl Decimal {
    fn read(number: &str) -> Option<Self> {
        let number = number.strip_prefix('-').unwrap_or(number);
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let exponent: i32 = exponent.parse().ok()?;
        let all = whole.bytes().chain(fraction.bytes());
        let zeros = all.clone().take_while(|digit| *digit == b'0').count();
        let mut digits: Vec<u8> = all.skip(zeros).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Some(Self { digits, exponent: 0 });
        }
        let point = i32::try_from(whole.len()).ok()?.checked_sub(i32::try_from(zeros).ok()?)?;
        Some(Self { digits, exponent: exponent.checked_add(point)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_number_only_where_no_digit_is_lost() {
        for (number, node) in [
            ("0", Some(Node::Integer(0))),
            ("-0", Some(Node::Float(-0.0))),
            ("-9223372036854775808", Some(Node::Integer(i64::MIN))),
            ("18446744073709551615", Some(Node::Unsigned(u64::MAX))),
            ("18446744073709551616", None),
            ("0.1", Some(Node::Float(0.1))),
            ("1.10", Some(Node::Float(1.1))),
            ("1e3", Some(Node::Float(1000.0))),
            ("0.000e5", Some(Node::Float(0.0))),
            ("9007199254740993.0", None),
            ("9007199254740992.0", Some(Node::Float(9_007_199_254_740_992.0))),
            ("0.10000000000000001", Some(Node::Float(0.1))),
            ("0.30000000000000004", Some(Node::Float(0.300_000_000_000_000_04))),
            ("0.100000000000000001", None),
            ("3.14159265358979323846", None),
            ("1e400", None),
            ("1e-400", None),
            ("1e99999999999", None),
        ] {
            assert_eq!(exact(number), node, "{number}");
        }
    }
}
