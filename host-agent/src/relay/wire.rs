//! Protobuf's wire format, as far as `io.prometheus.client` needs it: reading without copying, and writing.
//!
//! Messages are walked field by field, because whole ones are passed on as they came: what the relay does not know of (native
//! histograms, fields of later versions) survives.

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A varint: integers, enumerations.
    Varint(u64),
    /// Eight bytes: `double`, as bits.
    Fixed64(u64),
    /// Four bytes.
    Fixed32(u32),
    /// Strings and messages.
    Bytes(&'a [u8]),
}

/// A field with its number and where it stands in the message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// The field with its tag, as it came.
    pub whole: &'a [u8],
}

impl<'a> Field<'a> {
    /// The bytes of a string or message; nothing of anything else.
    pub fn bytes(&self) -> &'a [u8] {
        match self.value {
            Value::Bytes(bytes) => bytes,
            Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_) => &[],
        }
    }

    /// A `double`.
    pub fn double(&self) -> f64 {
        match self.value {
            Value::Fixed64(bits) => f64::from_bits(bits),
            Value::Varint(_) | Value::Fixed32(_) | Value::Bytes(_) => 0.0,
        }
    }

    /// An unsigned integer.
    pub fn integer(&self) -> u64 {
        match self.value {
            Value::Varint(value) => value,
            Value::Fixed64(_) | Value::Fixed32(_) | Value::Bytes(_) => 0,
        }
    }
}

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The fields of a message; after an error, none.
pub fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, Malformed>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match field(rest) {
            Some(field) => {
                rest = rest.get(field.whole.len()..).unwrap_or_default();
                Some(Ok(field))
            }
            None => {
                rest = &[];
                Some(Err(Malformed))
            }
        }
    })
}

fn field(bytes: &[u8]) -> Option<Field<'_>> {
    let (tag, mut at) = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
    let value = match tag & 7 {
        0 => {
            let (value, length) = varint(bytes.get(at..)?)?;
            at += length;
            Value::Varint(value)
        }
        1 => {
            let value = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?);
            at += 8;
            Value::Fixed64(value)
        }
        2 => {
            let (inner, length) = delimited(bytes.get(at..)?)?;
            at += length;
            Value::Bytes(inner)
        }
        5 => {
            let value = u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
            at += 4;
            Value::Fixed32(value)
        }
        _ => return None,
    };
    Some(Field { number, value, whole: bytes.get(..at)? })
}

/// A length and so many bytes; and how many bytes both are.
pub fn delimited(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (length, at) = varint(bytes)?;
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    Some((bytes.get(at..end)?, end))
}

fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (position, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((value, position + 1));
        }
    }
    None
}

/// Writes a varint.
pub fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

/// Writes a string or message.
pub fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 2, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Writes an unsigned integer or an enumeration.
pub fn put_integer(number: u32, value: u64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3, out);
    put_varint(value, out);
}

/// Writes a `double`.
pub fn put_double(number: u32, value: f64, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | 1, out);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = Vec::new();
        put_bytes(1, b"name", &mut message);
        put_integer(3, 300, &mut message);
        put_double(16, 0.5, &mut message);
        let all: Vec<Field<'_>> = fields(&message).map(Result::unwrap).collect();
        assert_eq!((all[0].number, all[0].bytes()), (1, &b"name"[..]));
        assert_eq!((all[1].number, all[1].integer()), (3, 300));
        assert_eq!((all[2].number, all[2].double()), (16, 0.5));
        let whole: Vec<u8> = all.iter().flat_map(|field| field.whole.to_vec()).collect();
        assert_eq!(whole, message);
    }

    #[test]
    fn what_is_no_message_is_an_error_and_the_end() {
        for bytes in [&b"\x0a\x05ab"[..], b"\x80", b"\x0b", b"\x00\x00", b"\x09\x01"] {
            let all: Vec<_> = fields(bytes).collect();
            assert_eq!(all, [Err(Malformed)], "{bytes:?}");
        }
        assert_eq!(delimited(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), None);
    }
}
