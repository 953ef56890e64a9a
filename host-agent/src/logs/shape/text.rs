//! Bytes become text that any receiver takes: carriage returns, colours, what is no UTF-8, what is too long.
//!
//! **Invariants**: what comes out is UTF-8; whatever was altered is among the [`Marks`]; control bytes and NUL stay.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What was done to a record, in the order in which it was done: what is sent as `marks`.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<Cow<'static, str>>);

impl Marks {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Says what was done to the whole record or its message.
    pub(super) fn add(&mut self, mark: &'static str) {
        self.push(Cow::Borrowed(mark));
    }

    /// Says what was done to a field, or by a rule.
    pub(super) fn add_of(&mut self, mark: &'static str, of: &str) {
        self.push(Cow::Owned(format!("{mark}:{of}")));
    }

    fn push(&mut self, mark: Cow<'static, str>) {
        if !self.0.contains(&mark) {
            self.0.push(mark);
        }
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

/// A text that was made of bytes.
#[derive(Debug)]
pub(super) struct Clean<'b> {
    pub(super) text: Cow<'b, str>,
    /// The bytes in base64, where they were not UTF-8.
    pub(super) original: Option<String>,
}

/// At most `most` bytes of a value, without half a character at their end.
pub(super) fn cut(bytes: &[u8], most: usize) -> &[u8] {
    let Some(head) = bytes.get(..most).filter(|_| bytes.len() > most) else { return bytes };
    // A character has at most four bytes, of which those after the first begin with the bits 10.
    let is_inside = |byte: Option<&u8>| byte.is_some_and(|byte| byte & 0xC0 == 0x80);
    if !is_inside(bytes.get(most)) {
        return head;
    }
    let begin = (1..=3)
        .filter_map(|back| most.checked_sub(back))
        .find(|at| !is_inside(bytes.get(*at)))
        .unwrap_or(most);
    head.get(..begin).unwrap_or(head)
}

/// The message of a line.
pub(super) fn message<'b>(bytes: &'b [u8], strip_colours: bool, marks: &mut Marks) -> Clean<'b> {
    let line = match bytes.strip_suffix(b"\r") {
        Some(line) => {
            marks.add("carriage_return_removed");
            line
        }
        None => bytes,
    };
    let Clean { mut text, original } = value(line, "message", marks);
    if strip_colours
        && memchr::memchr(0x1b, text.as_bytes()).is_some()
        && let Some(plain) = without_colours(&text)
    {
        marks.add("colours_removed");
        text = Cow::Owned(plain);
    }
    Clean { text, original }
}

/// The value of a field.
pub(super) fn value<'b>(bytes: &'b [u8], name: &str, marks: &mut Marks) -> Clean<'b> {
    match String::from_utf8_lossy(bytes) {
        text @ Cow::Borrowed(_) => Clean { text, original: None },
        text @ Cow::Owned(_) => {
            marks.add_of("invalid_utf8", name);
            Clean { text, original: Some(STANDARD.encode(bytes)) }
        }
    }
}

/// The text without its colour codes (ECMA-48 SGR: `ESC [ … m`); `None` when it has none. Other escape codes stay.
fn without_colours(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text;
    let mut is_changed = false;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        let code = after.strip_prefix('[').and_then(|code| {
            let end = code.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
            code.get(end..)?.strip_prefix('m')
        });
        rest = match code {
            Some(rest) => {
                is_changed = true;
                rest
            }
            None => {
                plain.push('\x1b');
                after
            }
        };
    }
    plain.push_str(rest);
    is_changed.then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(bytes: &[u8]) -> (String, Vec<String>, Option<String>) {
        let mut marks = Marks::default();
        let clean = message(bytes, true, &mut marks);
        (clean.text.into_owned(), marks.iter().map(str::to_owned).collect(), clean.original)
    }

    #[test]
    fn what_is_altered_is_marked() {
        for (bytes, text, marks, original) in [
            (&b"plain \0 \x07 text"[..], "plain \0 \x07 text", &[][..], None),
            (b"", "", &[], None),
            (b"dos\r", "dos", &["carriage_return_removed"], None),
            (b"in\rside", "in\rside", &[], None),
            (b"\x1b[1;31mred\x1b[0m!", "red!", &["colours_removed"], None),
            (b"\x1b[2J\x1b", "\x1b[2J\x1b", &[], None),
            (b"a\xffb", "a\u{fffd}b", &["invalid_utf8:message"], Some("Yf9i")),
        ] {
            let marks: Vec<String> = marks.iter().map(|mark| (*mark).to_owned()).collect();
            let expected = (text.to_owned(), marks, original.map(str::to_owned));
            assert_eq!(cleaned(bytes), expected);
        }
    }

    #[test]
    fn a_cut_does_not_halve_a_character() {
        assert_eq!(cut("aé".as_bytes(), 2), b"a");
        assert_eq!(cut("aé".as_bytes(), 3), "aé".as_bytes());
        assert_eq!(cut("€€".as_bytes(), 5), "€".as_bytes());
        assert_eq!(cut(b"abc", 2), b"ab");
        assert_eq!(cut(b"\x80\x80\x80\x80\x80", 4), b"\x80\x80\x80\x80");
    }
}
