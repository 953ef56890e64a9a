//! What a queue's segments say: a piece, or which pieces were delivered.
//!
//! ```text
//!  1  [spans u32 LE] [system: length u16 LE, text] [lane: length u16 LE, text] [resource_spans …]
//!  2  [segment u64 LE, offset u32 LE] …
//! ```

use std::sync::Arc;

use crate::segments::Position;

/// A record as it is read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Accepted spans.
    Piece {
        /// How many.
        spans: u32,
        /// Of which System.
        system: Option<Arc<str>>,
        /// Who shares.
        lane: Arc<str>,
        /// Their bytes.
        bytes: &'a [u8],
    },
    /// These were delivered.
    Done(Vec<Position>),
}

/// What stands before a piece's bytes.
pub(super) fn head(spans: u32, system: Option<&str>, lane: &str) -> Vec<u8> {
    let mut head = vec![1];
    head.extend_from_slice(&spans.to_le_bytes());
    for text in [system.unwrap_or_default(), lane] {
        let text = text.get(..text.floor_char_boundary(usize::from(u16::MAX))).unwrap_or_default();
        head.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
        head.extend_from_slice(text.as_bytes());
    }
    head
}

/// The record that says what was delivered.
pub(super) fn done(positions: &[Position]) -> Vec<u8> {
    let mut record = vec![2];
    for position in positions {
        record.extend_from_slice(&position.segment.to_le_bytes());
        record.extend_from_slice(&position.offset.to_le_bytes());
    }
    record
}

/// Reads a record; `None` when it is of another version's form.
pub(super) fn read(record: &[u8]) -> Option<Record<'_>> {
    let (kind, rest) = record.split_first()?;
    match kind {
        1 => {
            let (spans, rest) = rest.split_first_chunk()?;
            let (system, rest) = text(rest)?;
            let (lane, bytes) = text(rest)?;
            let system = Some(system).filter(|system| !system.is_empty()).map(Arc::from);
            Some(Record::Piece {
                spans: u32::from_le_bytes(*spans),
                system,
                lane: Arc::from(lane),
                bytes,
            })
        }
        2 => {
            let positions = rest.as_chunks::<12>().0.iter().map(|chunk| {
                let [a, b, c, d, e, f, g, h, offset @ ..] = *chunk;
                Position {
                    segment: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                    offset: u32::from_le_bytes(offset),
                }
            });
            Some(Record::Done(positions.collect()))
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let mut piece = head(3, Some("trading"), "trading/orders");
        piece.extend_from_slice(b"spans");
        assert_eq!(
            read(&piece),
            Some(Record::Piece {
                spans: 3,
                system: Some("trading".into()),
                lane: "trading/orders".into(),
                bytes: b"spans"
            })
        );
        let positions =
            vec![Position { segment: 7, offset: 8 }, Position { segment: 8, offset: 99 }];
        assert_eq!(read(&done(&positions)), Some(Record::Done(positions)));
        assert_eq!(read(b"\x09abc"), None);
        assert_eq!(read(&piece[..9]), None);
    }
}
