//! Values that stand in a URL: percent-decoding, then a field's value.
//!
//! In: text of a path or a query. Out: values of fields. **Invariant**: what is malformed is refused, never guessed.

use std::borrow::Cow;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, Value};

use super::binding::is_wrapper;
use super::decode;

const ANY_PADDING: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// What RFC 6570 calls reserved: in a variable of several segments these stay encoded.
const RESERVED: &[u8] = b":/?#[]@!$&'()*+,;=";

/// Decodes all of a text.
pub(super) fn percent_decode(text: &str) -> Result<Cow<'_, str>, String> {
    let mut escapes = text.split('%');
    escapes.next();
    if let Some(wrong) = escapes.find(|rest| hex(rest).is_none()) {
        let escape: String = wrong.chars().take(2).collect();
        return Err(format!("`%{escape}` is no percent-encoding; write a percent sign as `%25`"));
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| "its percent-encoded bytes are no UTF-8; encode the text as UTF-8".to_owned())
}

/// Decodes a text but for what is reserved, so that a captured `/` differs from a captured `%2F`.
pub(super) fn percent_decode_unreserved(text: &str) -> Result<String, String> {
    percent_decode(text)?;
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let escape = [bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default()];
        match std::str::from_utf8(&escape).ok().and_then(hex) {
            Some(value) if !RESERVED.contains(&value) => decoded.push(value),
            _ => {
                decoded.push(b'%');
                decoded.extend(escape);
            }
        }
    }
    String::from_utf8(decoded).map_err(|_| "its percent-encoded bytes are no UTF-8".to_owned())
}

/// The byte that the first two characters stand for.
fn hex(text: &str) -> Option<u8> {
    let digits = text.get(..2)?;
    u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
}

/// The value of a field, or of one of a repeated field.
pub(super) fn value(kind: &Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Double => number(text, "a number").map(Value::F64),
        Kind::Float => number(text, "a number").map(Value::F32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            number(text, "an integer of 32 bits").map(Value::I32)
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            number(text, "an integer of 64 bits").map(Value::I64)
        }
        Kind::Uint32 | Kind::Fixed32 => {
            number(text, "an integer of 32 bits, not negative").map(Value::U32)
        }
        Kind::Uint64 | Kind::Fixed64 => {
            number(text, "an integer of 64 bits, not negative").map(Value::U64)
        }
        Kind::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(format!("{text:?} is neither `true` nor `false`")),
        },
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bytes => bytes(text).map(|bytes| Value::Bytes(bytes.into())),
        Kind::Enum(descriptor) => enum_value(descriptor, text).map(Value::EnumNumber),
        Kind::Message(descriptor) => message(descriptor, text).map(Value::Message),
    }
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is not {what}"))
}

fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, ANY_PADDING)
        .decode(text)
        .map_err(|error| format!("{text:?} is no base64: {error}"))
}

fn enum_value(descriptor: &EnumDescriptor, text: &str) -> Result<i32, String> {
    if let Some(value) = descriptor.get_value_by_name(text) {
        return Ok(value.number());
    }
    text.parse().map_err(|_| {
        let known: Vec<String> =
            descriptor.values().take(20).map(|value| value.name().to_owned()).collect();
        let (name, known) = (descriptor.full_name(), super::error::list(&known));
        format!("{text:?} is no `{name}`; give a number or one of {known}")
    })
}

fn message(descriptor: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    let name = descriptor.full_name().strip_prefix("google.protobuf.").unwrap_or_default();
    if !is_wrapper(name) {
        return decode::text(descriptor, text);
    }
    let mut wrapper = DynamicMessage::new(descriptor.clone());
    let field = descriptor.get_field(1);
    let field = field.ok_or_else(|| format!("the schema's `{name}` has no field 1"))?;
    let inside = value(&field.kind(), text)?;
    wrapper
        .try_set_field(&field, inside)
        .map_err(|_| format!("the schema's `{name}` is another"))?;
    Ok(wrapper)
}
