//! Where a line of a task's files stands. Pure.
//!
//! Written as `n=3;o=1a2;l=39;g=0;k=40;f=…;b=0;p=0`, numbers hexadecimal: the file's number in Nomad's rotation, the line's
//! offset and length with its newline, how often this file was begun anew, what its first bytes are, and for a piece of a long
//! line where the line begins and which piece it is (0: a whole line, or a last piece).

use std::fmt;

use xxhash_rust::xxh3::Xxh3;

use crate::logs::entry::RecordId;

/// So many first bytes tell files apart, or the first line if it is shorter.
pub(super) const HEAD: usize = 256;

/// What the first bytes of a file are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// How many.
    pub(super) length: u64,
    /// Their hash.
    pub(super) hash: u64,
}

impl Head {
    /// Of a file that begins so.
    pub(super) fn of(begin: &[u8]) -> Self {
        let line = memchr::memchr(b'\n', begin).map_or(begin.len(), |at| at + 1);
        let length = line.min(HEAD);
        let bytes = begin.get(..length).unwrap_or_default();
        Self {
            length: u64::try_from(length).unwrap_or(u64::MAX),
            hash: xxhash_rust::xxh3::xxh3_64(bytes),
        }
    }

    /// Whether a file that begins so is the one.
    pub(super) fn is_of(&self, begin: &[u8]) -> bool {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let is_begin = |bytes| xxhash_rust::xxh3::xxh3_64(bytes) == self.hash;
        length == 0 || begin.get(..length).is_some_and(is_begin)
    }
}

/// One line's, or piece's, place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The file's number.
    pub(super) file: u64,
    /// Offset of the first byte.
    pub(super) offset: u64,
    /// Bytes, with the newline.
    pub(super) length: u64,
    /// How often the file was truncated or replaced under this number.
    pub(super) generation: u64,
    /// Its first bytes.
    pub(super) head: Head,
    /// Of a piece that is not the last: where its line begins.
    pub(super) line: u64,
    /// Of such a piece: which it is, from 1.
    pub(super) piece: u64,
}

impl Cursor {
    /// Reads one; `None` when it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut cursor = Self::default();
        let mut seen = 0;
        for part in text.split(';') {
            let (name, digits) = part.split_once('=')?;
            let value = u64::from_str_radix(digits, 16).ok()?;
            let field = match name {
                "n" => &mut cursor.file,
                "o" => &mut cursor.offset,
                "l" => &mut cursor.length,
                "g" => &mut cursor.generation,
                "k" => &mut cursor.head.length,
                "f" => &mut cursor.head.hash,
                "b" => &mut cursor.line,
                "p" => &mut cursor.piece,
                _ => return None,
            };
            *field = value;
            seen += 1;
        }
        (seen == 8).then_some(cursor)
    }

    /// Where reading goes on after it.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// Whether it stands at `other` or before it.
    pub(super) fn is_at_or_before(&self, other: &Self) -> bool {
        let place = |cursor: &Self| (cursor.file, cursor.generation, cursor.offset);
        place(self) <= place(other)
    }

    /// The name for good of the line at `offset` of this file; `stream` is the source's name.
    pub(super) fn id(&self, stream: &str, offset: u64) -> RecordId {
        let mut hash = Xxh3::new();
        hash.update(stream.as_bytes());
        for part in [self.file, self.generation, self.head.length, self.head.hash] {
            hash.update(&part.to_le_bytes());
        }
        RecordId { sequence: hash.digest128(), number: offset }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, length, generation, head, line, piece } = self;
        write!(f, "n={file:x};o={offset:x};l={length:x};g={generation:x};")?;
        write!(f, "k={:x};f={:x};b={line:x};p={piece:x}", head.length, head.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_and_written_without_change() {
        let head = Head { length: 7, hash: u64::MAX };
        let cursor =
            Cursor { file: 3, offset: 418, length: 57, generation: 1, head, line: 400, piece: 2 };
        let text = "n=3;o=1a2;l=39;g=1;k=7;f=ffffffffffffffff;b=190;p=2";
        assert_eq!(cursor.to_string(), text);
        assert_eq!(Cursor::parse(text), Some(cursor));
        for bad in ["", "n=3", "head", &text.replace("o=", "z="), &text.replace("1a2", "x")] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_first_line_however_it_grows() {
        let head = Head::of(b"one\ntwo\n");
        assert_eq!(head.length, 4);
        assert!(head.is_of(b"one\nthree\n") && !head.is_of(b"two\n") && !head.is_of(b"one"));
        assert!(Head::of(b"").is_of(b"anything"));
    }

    #[test]
    fn a_file_begun_anew_gives_other_names() {
        let cursor = Cursor::default();
        let anew = Cursor { generation: 1, ..cursor };
        assert_ne!(cursor.id("file:a/t.stdout", 0), anew.id("file:a/t.stdout", 0));
        assert_ne!(cursor.id("file:a/t.stdout", 0), cursor.id("file:a/t.stderr", 0));
        assert_eq!(cursor.id("file:a/t.stdout", 9), cursor.id("file:a/t.stdout", 9));
    }
}
