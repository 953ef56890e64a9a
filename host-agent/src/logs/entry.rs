//! Stage 1's product: one entry of the journal, or one line of a file, as raw bytes with its place.
//!
//! Made by `read/`, consumed by `shape/`. Fields are copied out of the journal's memory map into one buffer that is used again
//! for the next entry, because libsystemd's pointers live only until the next call.

use std::fmt;

/// Which source of a pipeline an entry came from: the host's journal, a namespace of it, or a file of an allocation.
///
/// An index into the pipeline's table of sources; small, because every entry and batch carries it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// Names an entry for good: the same for every destination, and again after a restart. Stores use it to drop repeats.
///
/// Of the journal: the sequence-number id and number of its cursor (`s=`, `i=`). Of a file: a hash of what identifies the
/// file, and the offset of the line's first byte. Of a record made of several entries: the first one's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Default)]
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
    names: String,
    values: Vec<u8>,
    ends: Vec<Ends>,
}

/// Where a field's name and value end; they begin where the ones before end.
#[derive(Debug, Clone, Copy)]
struct Ends {
    name: usize,
    value: usize,
}

impl Fields {
    /// Removes all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.names.clear();
        self.values.clear();
        self.ends.clear();
    }

    /// Adds a field.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.names.push_str(name);
        self.values.extend_from_slice(value);
        self.ends.push(Ends { name: self.names.len(), value: self.values.len() });
    }

    /// Adds a field as the journal has it, `NAME=VALUE`; bytes without `=` are a name without a value.
    pub fn push_pair(&mut self, pair: &[u8]) {
        let at = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        let name = pair.get(..at).unwrap_or_default();
        let value = pair.get(at.saturating_add(1)..).unwrap_or_default();
        match std::str::from_utf8(name) {
            Ok(name) => self.push(name, value),
            // journald takes names of capitals, digits and `_` only.
            Err(_) => self.push(&String::from_utf8_lossy(name), value),
        }
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let (mut name, mut value) = (0, 0);
        self.ends.iter().filter_map(move |ends| {
            let field = (self.names.get(name..ends.name)?, self.values.get(value..ends.value)?);
            (name, value) = (ends.name, ends.value);
            Some(field)
        })
    }

    /// The field at this place in the order of [`Self::iter`].
    pub fn at(&self, index: usize) -> Option<(&str, &[u8])> {
        let begin = match index.checked_sub(1) {
            None => Ends { name: 0, value: 0 },
            Some(before) => *self.ends.get(before)?,
        };
        let end = self.ends.get(index)?;
        Some((self.names.get(begin.name..end.name)?, self.values.get(begin.value..end.value)?))
    }

    /// The first value of a field.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find_map(|(own, value)| (own == name).then_some(value))
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.names.len() + self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_repeats_and_bytes() {
        let mut fields = Fields::default();
        fields.push("MESSAGE", b"a=b\0\xff");
        fields.push_pair(b"TAG=1");
        fields.push_pair(b"TAG=");
        fields.push_pair(b"E==\n");
        let all: Vec<(&str, &[u8])> = fields.iter().collect();
        let expected: [(&str, &[u8]); 4] =
            [("MESSAGE", b"a=b\0\xff"), ("TAG", b"1"), ("TAG", b""), ("E", b"=\n")];
        assert_eq!(all, expected);
        assert_eq!(fields.at(1), Some(expected[1]));
        assert_eq!(fields.at(3), Some(expected[3]));
        assert_eq!(fields.at(4), None);
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
