//! MessagePack read and written value by value, without building trees.
//!
//! In: bytes, possibly the beginning of more. Out: one [`Token`] at a time; lists and maps are announced by their length and
//! their values follow. Used for what is said to and by servers, and for records that are written as JSON.

use std::convert::Infallible;

use rmp::Marker;
use rmp::decode::{self, RmpRead as _};
use rmp::encode::{self, ByteBuf, ValueWriteError};

/// A value, or the beginning of a list or map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Nil,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    /// Text as it is: peers send bytes as text too.
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// So many values follow.
    List(u32),
    /// So many names with their values follow.
    Map(u32),
    Extension(i8, &'a [u8]),
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// The bytes end within it.
    #[error("the value is cut short")]
    Short,
    /// MessagePack has no such value.
    #[error("this is not MessagePack")]
    Invalid,
}

/// Takes the next value off `rest`, which stays as it was when there is none.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Result<Token<'a>, ReadError> {
    let mut input = *rest;
    let token = read(&mut input)?;
    *rest = input;
    Ok(token)
}

fn read<'a>(input: &mut &'a [u8]) -> Result<Token<'a>, ReadError> {
    let short = |_| ReadError::Short;
    let marker = decode::read_marker(input).map_err(|_| ReadError::Short)?;
    Ok(match marker {
        Marker::FixPos(value) => Token::Unsigned(value.into()),
        Marker::FixNeg(value) => Token::Signed(value.into()),
        Marker::Null => Token::Nil,
        Marker::True => Token::Bool(true),
        Marker::False => Token::Bool(false),
        Marker::U8 => Token::Unsigned(input.read_data_u8().map_err(short)?.into()),
        Marker::U16 => Token::Unsigned(input.read_data_u16().map_err(short)?.into()),
        Marker::U32 => Token::Unsigned(input.read_data_u32().map_err(short)?.into()),
        Marker::U64 => Token::Unsigned(input.read_data_u64().map_err(short)?),
        Marker::I8 => Token::Signed(input.read_data_i8().map_err(short)?.into()),
        Marker::I16 => Token::Signed(input.read_data_i16().map_err(short)?.into()),
        Marker::I32 => Token::Signed(input.read_data_i32().map_err(short)?.into()),
        Marker::I64 => Token::Signed(input.read_data_i64().map_err(short)?),
        Marker::F32 => Token::Float(input.read_data_f32().map_err(short)?.into()),
        Marker::F64 => Token::Float(input.read_data_f64().map_err(short)?),
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            let length = length(marker, input)?;
            Token::Text(take(input, length)?)
        }
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
            let length = length(marker, input)?;
            Token::Binary(take(input, length)?)
        }
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            Token::List(length(marker, input)?)
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => Token::Map(length(marker, input)?),
        Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16
        | Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32 => {
            let length = length(marker, input)?;
            let kind = input.read_data_i8().map_err(short)?;
            Token::Extension(kind, take(input, length)?)
        }
        Marker::Reserved => return Err(ReadError::Invalid),
    })
}

/// The length that follows a marker or is part of it.
fn length(marker: Marker, input: &mut &[u8]) -> Result<u32, ReadError> {
    let short = |_| ReadError::Short;
    Ok(match marker {
        Marker::FixStr(length) | Marker::FixArray(length) | Marker::FixMap(length) => length.into(),
        Marker::FixExt1 => 1,
        Marker::FixExt2 => 2,
        Marker::FixExt4 => 4,
        Marker::FixExt8 => 8,
        Marker::FixExt16 => 16,
        Marker::Str8 | Marker::Bin8 | Marker::Ext8 => input.read_data_u8().map_err(short)?.into(),
        Marker::Str16 | Marker::Bin16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => {
            input.read_data_u16().map_err(short)?.into()
        }
        Marker::Str32 | Marker::Bin32 | Marker::Ext32 | Marker::Array32 | Marker::Map32 => {
            input.read_data_u32().map_err(short)?
        }
        _ => return Err(ReadError::Invalid),
    })
}

fn take<'a>(input: &mut &'a [u8], length: u32) -> Result<&'a [u8], ReadError> {
    let length = usize::try_from(length).map_err(|_| ReadError::Invalid)?;
    let (taken, rest) = input.split_at_checked(length).ok_or(ReadError::Short)?;
    *input = rest;
    Ok(taken)
}

/// Passes over a value with all that belongs to it.
pub(super) fn skip(rest: &mut &[u8]) -> Result<(), ReadError> {
    let mut open: u64 = 1;
    while open > 0 {
        open -= 1;
        open += match next(rest)? {
            Token::List(count) => u64::from(count),
            Token::Map(count) => 2 * u64::from(count),
            _ => 0,
        };
    }
    Ok(())
}

/// Writes values to memory, which does not fail.
#[derive(Debug, Default)]
pub(super) struct Writer(ByteBuf);

/// Unwraps what has no error.
fn sure<T>(written: Result<T, ValueWriteError<Infallible>>) {
    match written {
        Ok(_) => {}
        Err(
            ValueWriteError::InvalidMarkerWrite(never) | ValueWriteError::InvalidDataWrite(never),
        ) => match never {},
    }
}

impl Writer {
    /// Begins a list.
    pub(super) fn list(mut self, count: u32) -> Self {
        sure(encode::write_array_len(&mut self.0, count));
        self
    }

    /// Begins a map.
    pub(super) fn map(mut self, count: u32) -> Self {
        sure(encode::write_map_len(&mut self.0, count));
        self
    }

    pub(super) fn text(mut self, text: &str) -> Self {
        sure(encode::write_str(&mut self.0, text));
        self
    }

    pub(super) fn unsigned(mut self, value: u64) -> Self {
        sure(encode::write_uint(&mut self.0, value));
        self
    }

    pub(super) fn binary(mut self, bytes: &[u8]) -> Self {
        sure(encode::write_bin(&mut self.0, bytes));
        self
    }

    /// Announces bytes that are sent by someone else.
    pub(super) fn binary_length(mut self, length: u32) -> Self {
        sure(encode::write_bin_len(&mut self.0, length));
        self
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_is_read_back() {
        let mut bytes = Vec::new();
        encode::write_array_len(&mut bytes, 9).unwrap();
        encode::write_nil(&mut bytes).unwrap();
        encode::write_bool(&mut bytes, true).unwrap();
        encode::write_sint(&mut bytes, -70_000).unwrap();
        encode::write_uint(&mut bytes, u64::MAX).unwrap();
        encode::write_f64(&mut bytes, 0.5).unwrap();
        encode::write_str(&mut bytes, &"a".repeat(300)).unwrap();
        encode::write_bin(&mut bytes, b"\xff").unwrap();
        encode::write_ext_meta(&mut bytes, 8, 0).unwrap();
        bytes.extend_from_slice(b"12345678");
        encode::write_map_len(&mut bytes, 1).unwrap();
        encode::write_str(&mut bytes, "k").unwrap();
        encode::write_array_len(&mut bytes, 0).unwrap();

        let long = "a".repeat(300);
        let expected = [
            Token::List(9),
            Token::Nil,
            Token::Bool(true),
            Token::Signed(-70_000),
            Token::Unsigned(u64::MAX),
            Token::Float(0.5),
            Token::Text(long.as_bytes()),
            Token::Binary(b"\xff"),
            Token::Extension(0, b"12345678"),
            Token::Map(1),
            Token::Text(b"k"),
            Token::List(0),
        ];
        let mut rest = &bytes[..];
        for token in expected {
            assert_eq!(next(&mut rest), Ok(token));
        }
        assert!(rest.is_empty());
        let mut rest = &bytes[..];
        assert_eq!(skip(&mut rest), Ok(()));
        assert!(rest.is_empty());
    }

    #[test]
    fn a_value_that_is_cut_anywhere_is_short_and_takes_nothing() {
        let mut bytes = Vec::new();
        encode::write_map_len(&mut bytes, 70_000).unwrap();
        for cut in 0..bytes.len() {
            let mut rest = &bytes[..cut];
            assert_eq!(next(&mut rest), Err(ReadError::Short));
            assert_eq!(rest.len(), cut);
        }
        assert_eq!(next(&mut &b"\xc1"[..]), Err(ReadError::Invalid));
    }
}
