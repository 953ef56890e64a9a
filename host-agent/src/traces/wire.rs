//! Protocol Buffers' wire format, read in place and written by hand: as much of it as passing spans on needs.
//!
//! Called by `otlp/` and `shape/`, which keep the bytes of what they do not change. Source: protobuf.dev, "Encoding".
//!
//! **Invariants**: nothing is copied while reading; bytes that are no message give [`Malformed`], never a panic.
//! **Absent**: groups (wire types 3 and 4), which no message of OTLP or Zipkin has.

/// Bytes that are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Protocol Buffers message")]
pub struct Malformed;

/// A field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// The bytes of a field that has some.
    ///
    /// # Errors
    /// When it is of another wire type.
    pub const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed64(_) | Self::Fixed32(_) => Err(Malformed),
        }
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// All of it with its tag, as it stands in the message.
    pub raw: &'a [u8],
}

/// The fields of a message in their order; ends after the first that cannot be read.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Of this message.
    pub const fn of(message: &'a [u8]) -> Self {
        Self { left: message }
    }

    #[inline]
    fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let begin = self.left;
        let tag = u32::try_from(varint(&mut self.left)?).map_err(|_| Malformed)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.left)?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.take_array()?)),
            2 => {
                let length = usize::try_from(varint(&mut self.left)?).map_err(|_| Malformed)?;
                let (bytes, left) = self.left.split_at_checked(length).ok_or(Malformed)?;
                self.left = left;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*self.take_array()?)),
            _ => return Err(Malformed),
        };
        let raw = begin.get(..begin.len() - self.left.len()).ok_or(Malformed)?;
        match tag >> 3 {
            0 => Err(Malformed),
            number => Ok(Field { number, value, raw }),
        }
    }

    fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (array, left) = self.left.split_first_chunk().ok_or(Malformed)?;
        self.left = left;
        Ok(array)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.left = &[];
        }
        Some(field)
    }
}

#[inline]
fn varint(left: &mut &[u8]) -> Result<u64, Malformed> {
    if let [byte, rest @ ..] = *left
        && *byte < 0x80
    {
        *left = rest;
        return Ok(u64::from(*byte));
    }
    let mut value = 0;
    for (index, byte) in left.iter().take(10).enumerate() {
        value |=
            u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).unwrap_or(9)).unwrap_or(0);
        if *byte < 0x80 {
            *left = left.get(index + 1..).unwrap_or_default();
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// The values of every field of bytes that has this number, up to where the message cannot be read.
pub fn all(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    let fields = Fields::of(message).map_while(Result::ok);
    fields.filter(move |field| field.number == number).filter_map(|field| field.value.bytes().ok())
}

/// Appends a varint.
pub fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push((value & 0x7f) as u8);
}

/// Appends a number's field.
pub fn put_number(to: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(to, u64::from(field) << 3);
    put_varint(to, value);
}

/// Appends the tag and the length of a field of `length` bytes, which the caller appends next.
pub fn put_length(to: &mut Vec<u8>, field: u32, length: usize) {
    put_varint(to, u64::from(field) << 3 | 2);
    put_varint(to, length as u64);
}

/// Appends a field of bytes, text or a message.
pub fn put_bytes(to: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_length(to, field, bytes.len());
    to.extend_from_slice(bytes);
}

/// An attribute with a text as its value: `KeyValue { key, value: AnyValue { string_value } }`.
pub fn text_attribute(key: &str, text: &str) -> Vec<u8> {
    let mut value = Vec::with_capacity(text.len() + 4);
    put_bytes(&mut value, 1, text.as_bytes());
    let mut attribute = Vec::with_capacity(key.len() + value.len() + 8);
    put_bytes(&mut attribute, 1, key.as_bytes());
    put_bytes(&mut attribute, 2, &value);
    attribute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_their_order_with_their_bytes() {
        let mut message = Vec::new();
        put_number(&mut message, 1, 300);
        put_bytes(&mut message, 16, b"abc");
        message.extend_from_slice(&[0x19, 1, 0, 0, 0, 0, 0, 0, 0]);
        message.extend_from_slice(&[0x25, 2, 0, 0, 0]);
        let fields: Vec<_> = Fields::of(&message).collect::<Result<_, _>>().unwrap();
        let values: Vec<_> = fields.iter().map(|field| (field.number, field.value)).collect();
        assert_eq!(
            values,
            [
                (1, Value::Varint(300)),
                (16, Value::Bytes(b"abc")),
                (3, Value::Fixed64(1)),
                (4, Value::Fixed32(2))
            ]
        );
        let raw: Vec<u8> = fields.iter().flat_map(|field| field.raw.to_vec()).collect();
        assert_eq!(raw, message);
    }

    #[test]
    fn what_is_no_message_is_malformed_and_ends_the_fields() {
        let bad: [&[u8]; 7] = [
            b"\x0a\x05ab",
            b"\x08",
            b"\x00\x01",
            b"\x0b",
            b"\x09\x01",
            &[0xff; 11],
            &[0x08, 0xff, 0xff],
        ];
        for bytes in bad {
            let fields: Vec<_> = Fields::of(bytes).collect();
            assert_eq!(fields.last(), Some(&Err(Malformed)), "{bytes:?}");
        }
    }

    #[test]
    fn large_numbers_survive() {
        for value in [0, 127, 128, u64::from(u32::MAX), u64::MAX] {
            let mut message = Vec::new();
            put_number(&mut message, 2, value);
            let field = Fields::of(&message).next().unwrap().unwrap();
            assert_eq!(field.value, Value::Varint(value));
        }
    }
}
