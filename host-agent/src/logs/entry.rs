//! Stage 1's product: one entry of the journal, or one line of a file, as raw bytes with its place.
//!
//! Made by `read/`, consumed by `shape/`. Fields are copied out of the journal's memory map into one buffer that is used again
//! for the next entry, because libsystemd's pointers live only until the next call.

use std::fmt;

/// Which source of a pipeline an entry came from: the host's journal, a namespace of it, or a file of an allocation.
///
/// An index into the pipeline's table of sources; small, because every entry and batch carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// Names an entry for good: the same for every destination, and again after a restart. Stores use it to drop repeats.
///
/// Of the journal: the sequence-number id and number of its cursor (`s=`, `i=`). Of a file: a hash of what identifies the
/// file, and the offset of the line's first byte. Of a record made of several entries: the first one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The journal's sequence-number id, or the file's identity.
    pub sequence: u128,
    /// The number within it.
    pub number: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}-{:x}", self.sequence, self.number)
    }
}

/// One entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it came from.
    pub source: SourceId,
    /// Its name.
    pub id: RecordId,
    /// Where it stands, in the words of its source: reading can be taken up at it. See [`crate::logs::position`].
    pub cursor: String,
    /// When the source took it, microseconds since the epoch.
    pub realtime_us: u64,
    /// What it says.
    pub fields: Fields,
}

/// The fields of an entry in the order of the source. Names may repeat; values are any bytes.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    begin: usize,
    name_end: usize,
    end: usize,
}

impl Fields {
    /// Removes all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// Adds a field.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(name.as_bytes());
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.spans.push(Span { begin, name_end, end: self.bytes.len() });
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.spans.iter().filter_map(|span| {
            let name = std::str::from_utf8(self.bytes.get(span.begin..span.name_end)?).ok()?;
            Some((name, self.bytes.get(span.name_end..span.end)?))
        })
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|(own, value)| (own == name).then_some(value))
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_repeats_and_bytes() {
        let mut fields = Fields::default();
        fields.push("MESSAGE", b"a=b\0\xff");
        fields.push("TAG", b"1");
        fields.push("TAG", b"");
        let all: Vec<(&str, &[u8])> = fields.iter().collect();
        let expected: [(&str, &[u8]); 3] = [("MESSAGE", b"a=b\0\xff"), ("TAG", b"1"), ("TAG", b"")];
        assert_eq!(all, expected);
        assert_eq!(fields.get("TAG"), Some(&b"1"[..]));
        assert_eq!(fields.get("MESS"), None);
        fields.clear();
        assert_eq!((fields.iter().count(), fields.size()), (0, 0));
    }

    #[test]
    fn an_id_is_written_the_same_way_each_time() {
        let id = RecordId { sequence: 0xabc, number: 255 };
        assert_eq!(id.to_string(), "00000000000000000000000000000abc-ff");
    }
}
