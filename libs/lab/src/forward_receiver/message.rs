//! A client's message: PackedForward, as it is or compressed.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use rmpv::ValueRef;
use rmpv::decode::read_value_ref;

/// A whole message at the beginning of a buffer.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) tag: &'a str,
    pub(super) packed: &'a [u8],
    pub(super) size: u64,
    pub(super) chunk: Option<&'a str>,
    pub(super) compressed: Option<&'a str>,
}

/// What is at the beginning of a buffer.
#[derive(Debug)]
pub(super) enum Next<'a> {
    /// More bytes are needed.
    Partial,
    /// A message and its length.
    Message(Message<'a>, usize),
    /// Something else.
    Bad(String),
}

/// Looks at the beginning of a buffer.
pub(super) fn next(buffer: &[u8]) -> Next<'_> {
    let mut rest = buffer;
    let value = match read_value_ref(&mut rest) {
        Ok(value) => value,
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Next::Partial,
        Err(error) => return Next::Bad(error.to_string()),
    };
    let length = buffer.len() - rest.len();
    match message(&value) {
        Some(message) => Next::Message(message, length),
        None => Next::Bad(format!("no PackedForward: {value:.100}")),
    }
}

fn message<'a>(value: &ValueRef<'a>) -> Option<Message<'a>> {
    let ValueRef::Array(parts) = value else { return None };
    let [tag, packed, options] = parts.as_slice() else { return None };
    let ValueRef::Map(options) = options else { return None };
    let option = |name: &str| {
        options.iter().find(|(own, _)| text(own) == Some(name)).map(|(_, value)| value)
    };
    let ValueRef::Binary(packed) = *packed else { return None };
    Some(Message {
        tag: text(tag)?,
        packed,
        size: option("size").and_then(|value| match value {
            ValueRef::Integer(number) => number.as_u64(),
            _ => None,
        })?,
        chunk: option("chunk").and_then(text),
        compressed: option("compressed").and_then(text),
    })
}

fn text<'a>(value: &ValueRef<'a>) -> Option<&'a str> {
    match value {
        ValueRef::String(text) => text.into_str(),
        _ => None,
    }
}

impl<'a> Message<'a> {
    /// The entries, unpacked.
    pub(super) fn entries(&self) -> std::io::Result<Cow<'a, [u8]>> {
        match self.compressed {
            None => Ok(Cow::Borrowed(self.packed)),
            Some("gzip") => {
                let mut entries = Vec::new();
                MultiGzDecoder::new(self.packed).read_to_end(&mut entries)?;
                Ok(Cow::Owned(entries))
            }
            Some("zstd") => zstd::stream::decode_all(self.packed).map(Cow::Owned),
            Some(other) => Err(std::io::Error::other(format!("unknown compression {other}"))),
        }
    }
}

/// The ids of all entries; `None` when they are no `[time, record]` with an id.
pub(super) fn ids(mut entries: &[u8], field: &str) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    while !entries.is_empty() {
        let ValueRef::Array(entry) = read_value_ref(&mut entries).ok()? else { return None };
        let [_, ValueRef::Map(record)] = entry.as_slice() else { return None };
        let (_, id) = record.iter().find(|(name, _)| text(name) == Some(field))?;
        ids.push(text(id)?.to_owned());
    }
    Some(ids)
}

/// The times of all entries, nanoseconds since the epoch; what is no entry has none.
pub(super) fn times(mut entries: &[u8]) -> Vec<u64> {
    let mut times = Vec::new();
    while let Ok(ValueRef::Array(entry)) = read_value_ref(&mut entries) {
        let Some(ValueRef::Ext(0, time)) = entry.first() else { continue };
        let Some((seconds, nanoseconds)) = time.split_first_chunk::<4>() else { continue };
        let Some((nanoseconds, _)) = nanoseconds.split_first_chunk::<4>() else { continue };
        let seconds = u64::from(u32::from_be_bytes(*seconds));
        times.push(seconds * 1_000_000_000 + u64::from(u32::from_be_bytes(*nanoseconds)));
    }
    times
}
