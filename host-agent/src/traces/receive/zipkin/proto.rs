//! The form in Protocol Buffers, `zipkin.proto3.ListOfSpans`. A span that cannot be read costs only itself.

use std::net::IpAddr;

use super::{Endpoint, Kind, Span};
use crate::traces::wire::{Fields, Malformed, Value};

/// The spans of a list, and how many of its items are none.
pub(super) fn read(body: &[u8]) -> Result<(Vec<Span>, u32), Malformed> {
    let (mut spans, mut malformed) = (Vec::new(), 0);
    for field in Fields::of(body) {
        let field = field?;
        if field.number == 1 {
            match span(field.value.bytes()?) {
                Ok(span) => spans.push(span),
                Err(Malformed) => malformed += 1,
            }
        }
    }
    Ok((spans, malformed))
}

fn span(message: &[u8]) -> Result<Span, Malformed> {
    let mut span = Span::default();
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(id)) => span.trace = number(id, 16),
            (2, Value::Bytes(id)) => {
                span.parent = short(id);
                span.is_parent_bad = span.parent.is_none() && !id.is_empty();
            }
            (3, Value::Bytes(id)) => span.id = short(id),
            (4, Value::Varint(word)) => span.kind = kind(word),
            (5, Value::Bytes(name)) => span.name = text(name)?,
            (6, Value::Fixed64(time)) => span.start_us = time,
            (7, Value::Varint(time)) => span.duration_us = time,
            (8, Value::Bytes(message)) => span.local = endpoint(message)?,
            (9, Value::Bytes(message)) => span.remote = endpoint(message)?,
            (10, Value::Bytes(message)) => span.annotations.push(annotation(message)?),
            (11, Value::Bytes(message)) => {
                let (key, value) = tag(message)?;
                span.tags.insert(key, value);
            }
            (12, Value::Varint(flag)) => span.is_debug = flag != 0,
            (13, Value::Varint(flag)) => span.is_shared = flag != 0,
            (1..=13, _) => return Err(Malformed),
            _ => {}
        }
    }
    Ok(span)
}

fn annotation(message: &[u8]) -> Result<(u64, String), Malformed> {
    let mut annotation = (0, String::new());
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Fixed64(time)) => annotation.0 = time,
            (2, Value::Bytes(value)) => annotation.1 = text(value)?,
            _ => {}
        }
    }
    Ok(annotation)
}

fn tag(message: &[u8]) -> Result<(String, String), Malformed> {
    let mut tag = (String::new(), String::new());
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(key)) => tag.0 = text(key)?,
            (2, Value::Bytes(value)) => tag.1 = text(value)?,
            _ => {}
        }
    }
    Ok(tag)
}

fn endpoint(message: &[u8]) -> Result<Endpoint, Malformed> {
    let mut endpoint = Endpoint::default();
    for field in Fields::of(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(name)) => endpoint.service = text(name)?,
            (2, Value::Bytes(bytes)) => {
                endpoint.address =
                    <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from).or(endpoint.address);
            }
            (3, Value::Bytes(bytes)) => {
                let address = <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
                endpoint.address = endpoint.address.or(address);
            }
            (4, Value::Varint(port)) => endpoint.port = u16::try_from(port).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(endpoint)
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

const fn kind(word: u64) -> Kind {
    match word {
        1 => Kind::Client,
        2 => Kind::Server,
        3 => Kind::Producer,
        4 => Kind::Consumer,
        _ => Kind::Local,
    }
}

/// An id of 1 to `longest` bytes, big end first.
fn number(id: &[u8], longest: usize) -> Option<u128> {
    let fits = (1..=longest).contains(&id.len());
    fits.then(|| id.iter().fold(0, |value, byte| value << 8 | u128::from(*byte)))
}

fn short(id: &[u8]) -> Option<u64> {
    u64::try_from(number(id, 8)?).ok()
}
