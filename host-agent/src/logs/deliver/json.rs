//! Entries in MessagePack as JSON lines.
//!
//! In: one `[EventTime, record]`. Out: a line of JSON appended to a buffer, or the record's id. Used by the file and stdout
//! outputs and by dead letters. Bytes that are not text come out as base64, what JSON has no number for as `null`.
//!
//! **Invariants**: any bytes give a line.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::RECORD_ID;
use super::msgpack::{self, ReadError, Token};
use crate::logs::record::Rfc3339;

/// Appends an entry as a line: its time, `facts`, and its record. What cannot be read is kept as it is, in base64.
pub(super) fn write_line(entry: &[u8], facts: &[(&str, &str)], out: &mut Vec<u8>) {
    let written = EntryView::new(entry).and_then(|view| view.write_line(facts, out));
    if let Err(error) = written {
        out.extend_from_slice(b"{\"error\":");
        text(error.to_string().as_bytes(), out);
        write_facts(facts, out);
        write_facts(&[("entry_base64", &BASE64_STANDARD.encode(entry))], out);
        out.extend_from_slice(b"}\n");
    }
}

/// The id of an entry's record, if it has one.
pub(super) fn record_id(entry: &[u8]) -> Option<&str> {
    EntryView::new(entry).ok()?.id()
}

/// One entry of a message.
#[derive(Debug, Clone, Copy)]
struct EntryView<'a> {
    /// Nanoseconds since the epoch.
    time_ns: u64,
    /// The record, in MessagePack.
    record: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// Looks at `[EventTime, record]`; a time may be a number of seconds too.
    fn new(entry: &'a [u8]) -> Result<Self, ReadError> {
        let mut rest = entry;
        if msgpack::next(&mut rest)? != Token::List(2) {
            return Err(ReadError::Invalid);
        }
        let time_ns = time_ns(msgpack::next(&mut rest)?).ok_or(ReadError::Invalid)?;
        Ok(Self { time_ns, record: rest })
    }

    /// The record's id, if it has one.
    fn id(&self) -> Option<&'a str> {
        let mut rest = self.record;
        let Ok(Token::Map(count)) = msgpack::next(&mut rest) else { return None };
        for _ in 0..count {
            let name = msgpack::next(&mut rest).ok()?;
            if name != Token::Text(RECORD_ID.as_bytes()) {
                msgpack::skip(&mut rest).ok()?;
                continue;
            }
            return match msgpack::next(&mut rest) {
                Ok(Token::Text(id)) => std::str::from_utf8(id).ok(),
                _ => None,
            };
        }
        None
    }

    /// Appends `{"time":…,` and then `"NAME":"TEXT",` of each of `facts`, and the record: one line with its end.
    fn write_line(&self, facts: &[(&str, &str)], out: &mut Vec<u8>) -> Result<(), ReadError> {
        let begin = out.len();
        out.extend_from_slice(b"{\"time\":");
        text(Rfc3339(self.time_ns).to_string().as_bytes(), out);
        write_facts(facts, out);
        out.extend_from_slice(b",\"record\":");
        if let Err(error) = write_value(self.record, out) {
            out.truncate(begin);
            return Err(error);
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// Appends `,"NAME":"TEXT"` of each.
fn write_facts(facts: &[(&str, &str)], out: &mut Vec<u8>) {
    for (name, value) in facts {
        out.push(b',');
        text(name.as_bytes(), out);
        out.push(b':');
        text(value.as_bytes(), out);
    }
}

/// EventTime (extension 0: seconds and nanoseconds, each 4 bytes, big-endian), or seconds.
fn time_ns(token: Token<'_>) -> Option<u64> {
    match token {
        Token::Extension(0, bytes) => {
            let (seconds, ns) = bytes.split_first_chunk::<4>()?;
            let (ns, _) = ns.split_first_chunk::<4>()?;
            let seconds = u64::from(u32::from_be_bytes(*seconds));
            Some(seconds * 1_000_000_000 + u64::from(u32::from_be_bytes(*ns)))
        }
        Token::Unsigned(seconds) => seconds.checked_mul(1_000_000_000),
        _ => None,
    }
}

/// A list or map that is being written.
struct Open {
    is_map: bool,
    is_empty: bool,
    /// Values to come; in a map names count too.
    left: u64,
}

impl Open {
    /// Begins one and appends its bracket.
    fn new(is_map: bool, left: u64, out: &mut Vec<u8>) -> Self {
        out.push(if is_map { b'{' } else { b'[' });
        Self { is_map, is_empty: true, left }
    }

    /// Appends what stands before the next value; whether that value is a name.
    fn separate(&mut self, out: &mut Vec<u8>) -> bool {
        let is_name = self.is_map && self.left.is_multiple_of(2);
        if self.is_map && !is_name {
            out.push(b':');
        } else if !self.is_empty {
            out.push(b',');
        }
        self.is_empty = false;
        self.left -= 1;
        is_name
    }
}

/// Appends a value; how deep it is nested costs memory, never stack.
fn write_value(mut rest: &[u8], out: &mut Vec<u8>) -> Result<(), ReadError> {
    let mut open: Vec<Open> = Vec::new();
    loop {
        let is_name = open.last_mut().is_some_and(|top| top.separate(out));
        match msgpack::next(&mut rest)? {
            token if is_name => name(token, out)?,
            Token::List(count) => open.push(Open::new(false, count.into(), out)),
            Token::Map(count) => open.push(Open::new(true, 2 * u64::from(count), out)),
            token => scalar(token, out)?,
        }
        while let Some(top) = open.pop_if(|top| top.left == 0) {
            out.push(if top.is_map { b'}' } else { b']' });
        }
        if open.is_empty() {
            return Ok(());
        }
    }
}

/// A name is text in JSON; others are quoted.
fn name(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), ReadError> {
    match token {
        Token::Text(_) | Token::Binary(_) | Token::Extension(..) => scalar(token, out),
        Token::List(_) | Token::Map(_) => Err(ReadError::Invalid),
        Token::Nil | Token::Bool(_) | Token::Signed(_) | Token::Unsigned(_) | Token::Float(_) => {
            out.push(b'"');
            scalar(token, out)?;
            out.push(b'"');
            Ok(())
        }
    }
}

fn scalar(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), ReadError> {
    match token {
        Token::Nil => out.extend_from_slice(b"null"),
        Token::Bool(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Token::Signed(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Token::Unsigned(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Token::Float(value) => match serde_json::Number::from_f64(value) {
            Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
            None => out.extend_from_slice(b"null"),
        },
        Token::Text(bytes) => text(bytes, out),
        Token::Binary(bytes) => text(BASE64_STANDARD.encode(bytes).as_bytes(), out),
        Token::Extension(0, bytes) if bytes.len() == 8 => {
            let ns = time_ns(token).ok_or(ReadError::Invalid)?;
            text(Rfc3339(ns).to_string().as_bytes(), out);
        }
        Token::Extension(_, bytes) => text(BASE64_STANDARD.encode(bytes).as_bytes(), out),
        Token::List(_) | Token::Map(_) => return Err(ReadError::Invalid),
    }
    Ok(())
}

/// A JSON string; what is no UTF-8 becomes U+FFFD.
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            control if control < ' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use rmp::encode;
    use serde_json::json;

    fn entry(record: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode::write_array_len(&mut bytes, 2).unwrap();
        encode::write_ext_meta(&mut bytes, 8, 0).unwrap();
        bytes.extend_from_slice(&1_795_287_947_u32.to_be_bytes());
        bytes.extend_from_slice(&309_244_000_u32.to_be_bytes());
        record(&mut bytes);
        bytes
    }

    #[test]
    fn an_entry_becomes_a_line_of_json() {
        let entry = entry(|out| {
            encode::write_map_len(out, 6).unwrap();
            encode::write_str(out, RECORD_ID).unwrap();
            encode::write_str(out, "abc-1").unwrap();
            encode::write_str(out, "text").unwrap();
            encode::write_str(out, "\"\\\n\u{1}\u{1b}é").unwrap();
            encode::write_str(out, "list").unwrap();
            encode::write_array_len(out, 3).unwrap();
            encode::write_sint(out, -1).unwrap();
            encode::write_map_len(out, 0).unwrap();
            encode::write_f64(out, f64::NAN).unwrap();
            encode::write_str(out, "bytes").unwrap();
            encode::write_bin(out, b"\xff\x00").unwrap();
            encode::write_uint(out, 7).unwrap();
            encode::write_nil(out).unwrap();
            encode::write_str(out, "bad").unwrap();
            encode::write_str_len(out, 2).unwrap();
            out.extend_from_slice(b"a\xff");
        });
        assert_eq!(record_id(&entry), Some("abc-1"));
        let mut line = Vec::new();
        write_line(&entry, &[("tag", "mesh.trading")], &mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        assert!(!line.contains(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let expected = json!({
            "time": "2026-11-21T19:05:47.309244Z",
            "tag": "mesh.trading",
            "record": {
                (RECORD_ID): "abc-1",
                "text": "\"\\\n\u{1}\u{1b}é",
                "list": [-1, {}, null],
                "bytes": "/wA=",
                "7": null,
                "bad": "a\u{fffd}",
            },
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn a_record_nested_without_measure_is_written_all_the_same() {
        let entry = entry(|out| {
            out.extend(std::iter::repeat_n(0x91, 200_000));
            encode::write_nil(out).unwrap();
        });
        let mut line = Vec::new();
        write_line(&entry, &[], &mut line);
        assert!(line.ends_with(b"]]}\n") && line.len() > 400_000);
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_bytes() {
        let entry = entry(|out| encode::write_array_len(out, 2).map(drop).unwrap());
        let mut lines = b"before\n".to_vec();
        write_line(&entry, &[("tag", "mesh")], &mut lines);
        write_line(b"\x92\xc1", &[], &mut lines);
        let text = String::from_utf8(lines).unwrap();
        let expected = [
            "before".to_owned(),
            format!(
                r#"{{"error":"the value is cut short","tag":"mesh","entry_base64":"{}"}}"#,
                BASE64_STANDARD.encode(&entry)
            ),
            r#"{"error":"this is not MessagePack","entry_base64":"ksE="}"#.to_owned(),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
