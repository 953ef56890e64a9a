//! A label block in its one form, `a="b","c.d"="e"`: walking it, and how values are escaped.

/// One label of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelPair<'a> {
    /// Its name; with its quotes where it needs them.
    pub name: &'a [u8],
    /// Its value between the quotes, still escaped.
    pub value: &'a [u8],
}

/// The labels of a block. Of what is no block, what can be told apart.
pub fn pairs(block: &[u8]) -> impl Iterator<Item = LabelPair<'_>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let (pair, after) = first(rest)?;
        rest = after.strip_prefix(b",").unwrap_or(after);
        Some(pair)
    })
}

fn first(block: &[u8]) -> Option<(LabelPair<'_>, &[u8])> {
    let name_end = match block.first()? {
        b'"' => string_end(block, 1)? + 1,
        _ => memchr::memchr(b'=', block)?,
    };
    let value_begin = name_end + 2;
    let value_end = string_end(block, value_begin)?;
    let pair =
        LabelPair { name: block.get(..name_end)?, value: block.get(value_begin..value_end)? };
    Some((pair, block.get(value_end + 1..)?))
}

/// Where the quote is that ends the string which begins at `from`.
pub(super) fn string_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// Whether every backslash is one of the escapes that all formats know: `\\`, `\"`, `\n`.
pub(super) fn has_known_escapes(escaped: &[u8]) -> bool {
    let mut at = 0;
    while let Some(next) = memchr::memchr(b'\\', escaped.get(at..).unwrap_or_default()) {
        match escaped.get(at + next + 1) {
            Some(b'\\' | b'"' | b'n') => at += next + 2,
            _ => return false,
        }
    }
    true
}

/// Writes an escaped string with known escapes only, as it would be read: what is no escape is a backslash.
pub(super) fn repair_escapes(escaped: &[u8], out: &mut Vec<u8>) {
    let mut bytes = escaped.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, bytes.peek()) {
            (b'\\', Some(next @ (b'\\' | b'"' | b'n'))) => {
                out.extend([b'\\', *next]);
                bytes.next();
            }
            (b'\\', _) => out.extend(b"\\\\"),
            (b'\n', _) => out.extend(b"\\n"),
            _ => out.push(byte),
        }
    }
}

/// The string that an escaped one means.
pub(in crate::relay) fn unescape(escaped: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memchr::memchr(b'\\', escaped).is_none() {
        return escaped.into();
    }
    let mut out = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => out.push(b'\n'),
                Some(other) => out.push(other),
                None => out.push(b'\\'),
            },
            _ => out.push(byte),
        }
    }
    out.into()
}

/// Writes a string as it stands between quotes.
pub(in crate::relay) fn escape(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'\\' => out.extend(b"\\\\"),
            b'"' => out.extend(b"\\\""),
            b'\n' => out.extend(b"\\n"),
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_walked_pair_by_pair() {
        let block = br#"a="b",c="d\",e=\"f","g.h"="",i="=""#;
        let all: Vec<(&str, &str)> = pairs(block)
            .map(|pair| {
                (std::str::from_utf8(pair.name).unwrap(), std::str::from_utf8(pair.value).unwrap())
            })
            .collect();
        assert_eq!(all, [("a", "b"), ("c", r#"d\",e=\"f"#), ("\"g.h\"", ""), ("i", "=")]);
        assert_eq!(pairs(b"").count(), 0);
        assert_eq!(pairs(b"a=\"b").count(), 0);
    }

    #[test]
    fn escapes_are_known_or_repaired() {
        assert!(has_known_escapes(br#"a\\b\"c\n"#));
        assert!(!has_known_escapes(br"\d+") && !has_known_escapes(br"a\"));
        let mut repaired = Vec::new();
        repair_escapes(br#"\d\\\"\n"#, &mut repaired);
        assert_eq!(repaired, br#"\\d\\\"\n"#);
        assert_eq!(unescape(&repaired).as_ref(), b"\\d\\\"\n");
        let mut again = Vec::new();
        escape(b"\\d\\\"\n", &mut again);
        assert_eq!(again, repaired);
    }
}
