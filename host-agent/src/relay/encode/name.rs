//! Names that need quotes, for callers that take them and for callers that do not.

use crate::relay::accept::Escaping;
use crate::relay::parse::labels::escape;

/// Whether a metric's name is plain: letters, digits, `_` and `:`.
pub(super) fn is_plain(name: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
    name.iter().all(is_word) && name.first().is_some_and(|first| !first.is_ascii_digit())
}

/// A name as a caller takes it who takes no quotes.
pub(super) fn escaped(name: &[u8], escaping: Escaping) -> Vec<u8> {
    if is_plain(name) && escaping != Escaping::Dots {
        return name.to_vec();
    }
    let text = String::from_utf8_lossy(name);
    let mut out = String::with_capacity(text.len() + 8);
    if escaping == Escaping::Values {
        out.push_str("U__");
    }
    for (position, char) in text.chars().enumerate() {
        let is_word = char.is_ascii_alphabetic()
            || matches!(char, '_' | ':')
            || (char.is_ascii_digit() && (position > 0 || escaping == Escaping::Values));
        match (escaping, char) {
            (Escaping::AllowUtf8, char) => out.push(char),
            (Escaping::Dots | Escaping::Values, '_') => out.push_str("__"),
            (_, char) if is_word => out.push(char),
            (Escaping::Dots, '.') => out.push_str("_dot_"),
            (Escaping::Dots, _) => out.push_str("__"),
            (Escaping::Underscores, _) => out.push('_'),
            (Escaping::Values, char) => out.push_str(&format!("_{:x}_", u32::from(char))),
        }
    }
    out.into_bytes()
}

/// Writes a name in quotes.
pub(super) fn put_quoted(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(name, out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_escaped_as_the_caller_asked() {
        let name = "http.server_time°".as_bytes();
        for (escaping, expected) in [
            (Escaping::Underscores, "http_server_time_"),
            (Escaping::Dots, "http_dot_server__time__"),
            (Escaping::Values, "U__http_2e_server__time_b0_"),
            (Escaping::AllowUtf8, "http.server_time°"),
        ] {
            assert_eq!(String::from_utf8(escaped(name, escaping)).unwrap(), expected);
        }
        assert_eq!(escaped(b"up", Escaping::Values), b"up");
    }
}
