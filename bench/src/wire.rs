//! Protobuf, as little of it as an Envoy-like client needs: walking fields, and writing requests.
//!
//! In: bytes of responses. Out: fields by number; encoded messages. Called by `proxy` and `node`.
//!
//! **Invariants**: nothing is copied while reading; malformed bytes are an error, never an end.
//! Deliberately absent: generated messages: a generator that decodes everything would measure itself.

/// Bytes that are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server sent bytes that are no protobuf message")]
pub struct Malformed;

/// One field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A varint.
    Number(u64),
    /// A string, bytes or message.
    Bytes(&'a [u8]),
    /// A fixed-width number, which no client here reads.
    Fixed,
}

impl<'a> Value<'a> {
    /// The bytes; empty for numbers.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) | Self::Fixed => &[],
        }
    }

    /// The text; empty when it is none.
    pub fn text(self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

/// The fields of a message, in the order of its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn next_field(&mut self) -> Result<(u64, Value<'a>), Malformed> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.split(length)?)
            }
            5 => self.skip(4)?,
            _ => return Err(Malformed),
        };
        Ok((key >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn split(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    fn skip(&mut self, length: usize) -> Result<Value<'a>, Malformed> {
        self.split(length).map(|_| Value::Fixed)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.next_field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// The first field with this number; a number or nothing counts as empty.
pub fn field(message: &[u8], number: u64) -> Result<Value<'_>, Malformed> {
    for field in Fields(message) {
        let (found, value) = field?;
        if found == number {
            return Ok(value);
        }
    }
    Ok(Value::Bytes(&[]))
}

/// Calls `visit` with every message reached by this path of field numbers.
pub fn walk<'a>(
    message: &'a [u8],
    path: &[u64],
    visit: &mut impl FnMut(&'a [u8]),
) -> Result<(), Malformed> {
    let Some((number, rest)) = path.split_first() else {
        visit(message);
        return Ok(());
    };
    for field in Fields(message) {
        let (found, value) = field?;
        if found == *number {
            walk(value.bytes(), rest, visit)?;
        }
    }
    Ok(())
}

/// Writes a string, bytes or message field.
pub fn put(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Writes an entry of a `map<string, string>`.
pub fn put_entry(out: &mut Vec<u8>, number: u8, key: &str, value: &str) {
    let mut entry = Vec::with_capacity(key.len() + value.len() + 8);
    put(&mut entry, 1, key.as_bytes());
    put(&mut entry, 2, value.as_bytes());
    put(out, number, &entry);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_along_its_path() {
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        put(&mut inner, 2, &[b'x'; 300]);
        put_entry(&mut inner, 5, "key", "value");
        put(&mut outer, 3, &inner);
        let mut found = Vec::new();
        walk(&outer, &[3, 2], &mut |value| found.push(value.len())).unwrap();
        assert_eq!(found, [300]);
        let entry = field(&inner, 5).unwrap().bytes();
        assert_eq!(
            (field(entry, 1).unwrap().text(), field(entry, 2).unwrap().text()),
            ("key", "value")
        );
    }

    #[test]
    fn a_cut_message_is_an_error_and_not_an_end() {
        let mut message = Vec::new();
        put(&mut message, 1, b"something");
        message.pop();
        assert_eq!(Fields(&message).collect::<Vec<_>>(), [Err(Malformed)]);
    }
}
