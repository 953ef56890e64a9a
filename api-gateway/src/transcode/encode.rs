//! Messages to canonical JSON.
//!
//! In: messages of a service. Out: bytes, written once by `serde_json`. `prost-reflect` writes timestamps, durations
//! and field masks; all else is walked here, because its own walk writes `null` for a wrapped NaN, leaves maps in an
//! order of their own, and gives up at an `Any` of a type that the schema lacks.
//!
//! **Invariants**: equal messages have equal bytes; the depth is bounded although an `Any` begins a new message.

use base64::Engine;
use base64::display::Base64Display;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage,
    SerializeOptions, Value,
};
use serde::Serialize;
use serde::ser::{Error, SerializeMap, SerializeSeq, Serializer};

use super::binding::is_wrapper;
use super::options::JsonOptions;

/// Messages inside each other, as many as protobuf decoders take.
const MAX_DEPTH: usize = 100;

/// Any value as JSON text.
pub(super) fn to_bytes<T: Serialize>(value: &T) -> Result<Bytes, serde_json::Error> {
    let mut text = Vec::with_capacity(256);
    serde_json::to_writer(&mut text, value)?;
    Ok(text.into())
}

/// A message as canonical JSON.
pub fn json(message: &DynamicMessage, options: &JsonOptions) -> Result<Bytes, serde_json::Error> {
    to_bytes(&Json::new(message, None, options))
}

/// A message, or what `response_body` names of it, for `serde`.
#[derive(Clone, Copy)]
pub(super) struct Json<'a> {
    message: &'a DynamicMessage,
    field: Option<&'a FieldDescriptor>,
    walk: Walk<'a>,
}

#[derive(Clone, Copy)]
struct Walk<'a> {
    options: &'a JsonOptions,
    depth: usize,
}

impl<'a> Json<'a> {
    pub(super) fn new(
        message: &'a DynamicMessage,
        field: Option<&'a FieldDescriptor>,
        options: &'a JsonOptions,
    ) -> Self {
        Self { message, field, walk: Walk { options, depth: 0 } }
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.field {
            Some(field) => {
                let (value, kind) = (self.message.get_field(field), field.kind());
                One { value: &value, kind: &kind, walk: self.walk }.serialize(serializer)
            }
            None => Whole { message: self.message, walk: self.walk }.serialize(serializer),
        }
    }
}

/// An error's detail; of an unknown type, what is known of it.
pub(super) fn detail(
    pool: &DescriptorPool,
    any: &prost_types::Any,
    options: &JsonOptions,
) -> serde_json::Value {
    let walk = Walk { options, depth: 0 };
    let packed = Packed { pool, url: &any.type_url, value: &any.value, walk };
    serde_json::to_value(&packed).unwrap_or_else(|_| raw(&any.type_url, &any.value))
}

fn raw(url: &str, value: &[u8]) -> serde_json::Value {
    serde_json::json!({"@type": url, "value": BASE64_STANDARD.encode(value)})
}

struct Whole<'a> {
    message: &'a DynamicMessage,
    walk: Walk<'a>,
}

impl Serialize for Whole<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.walk.depth > MAX_DEPTH {
            return Err(S::Error::custom("messages are nested deeper than 100 levels"));
        }
        let walk = Walk { depth: self.walk.depth + 1, ..self.walk };
        let descriptor = self.message.descriptor();
        match descriptor.full_name().strip_prefix("google.protobuf.") {
            Some("Timestamp" | "Duration" | "FieldMask") => {
                self.check_nanos().map_err(S::Error::custom)?;
                self.message.serialize_with_options(serializer, &SerializeOptions::new())
            }
            Some("Any") => {
                let text = |number| self.message.get_field_by_number(number);
                let (url, value) = (text(1), text(2));
                let url = url.as_deref().and_then(Value::as_str).unwrap_or_default();
                let value = value.as_deref().and_then(Value::as_bytes).cloned();
                let value = value.unwrap_or_default();
                Packed { pool: descriptor.parent_pool(), url, value: &value, walk }
                    .serialize(serializer)
            }
            Some("Value") => match self.message.fields().next() {
                Some((_, Value::F64(number))) if !number.is_finite() => Err(S::Error::custom(
                    format!("{number} in a google.protobuf.Value, which JSON has no number for"),
                )),
                Some((field, value)) => {
                    One { value, kind: &field.kind(), walk }.serialize(serializer)
                }
                None => serializer.serialize_unit(),
            },
            Some(name) if name == "Struct" || name == "ListValue" || is_wrapper(name) => {
                let field = descriptor.get_field(1).ok_or_else(|| {
                    S::Error::custom(format!(
                        "the schema's {} has no field 1",
                        descriptor.full_name()
                    ))
                })?;
                let value = self.message.get_field(&field);
                One { value: &value, kind: &field.kind(), walk }.serialize(serializer)
            }
            _ => {
                let mut map = serializer.serialize_map(None)?;
                fields(&mut map, self.message, walk)?;
                map.end()
            }
        }
    }
}

impl Whole<'_> {
    /// `prost-types` writes nanoseconds beyond a second, or of the other sign, as another time.
    fn check_nanos(&self) -> Result<(), String> {
        let number = |number| self.message.get_field_by_number(number);
        let seconds = number(1).as_deref().and_then(Value::as_i64).unwrap_or_default();
        let nanos = number(2).as_deref().and_then(Value::as_i32).unwrap_or_default();
        let descriptor = self.message.descriptor();
        let is_time = descriptor.full_name() == "google.protobuf.Timestamp";
        let has_right_sign =
            if is_time { nanos >= 0 } else { seconds.signum() * i64::from(nanos.signum()) >= 0 };
        if has_right_sign && nanos.unsigned_abs() < 1_000_000_000 {
            return Ok(());
        }
        Err(format!("a {} of {seconds} seconds and {nanos} nanoseconds", descriptor.full_name()))
    }
}

/// Fields in the order of their numbers, then extensions.
fn fields<M: SerializeMap>(
    map: &mut M,
    message: &DynamicMessage,
    walk: Walk<'_>,
) -> Result<(), M::Error> {
    let entry = |map: &mut M, field: &FieldDescriptor, value: &Value| {
        let preserve = walk.options.preserve_names;
        let name = if preserve { field.name() } else { field.json_name() };
        map.serialize_entry(name, &One { value, kind: &field.kind(), walk })
    };
    if walk.options.emit_defaults {
        for field in message.descriptor().fields() {
            if message.has_field(&field) || !field.supports_presence() {
                entry(map, &field, &message.get_field(&field))?;
            }
        }
    } else {
        for (field, value) in message.fields() {
            entry(map, &field, value)?;
        }
    }
    for (extension, value) in message.extensions() {
        let kind = extension.kind();
        map.serialize_entry(extension.json_name(), &One { value, kind: &kind, walk })?;
    }
    Ok(())
}

/// A field's value, or one of a list or map.
struct One<'a> {
    value: &'a Value,
    kind: &'a Kind,
    walk: Walk<'a>,
}

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::I32(value) => serializer.serialize_i32(*value),
            Value::U32(value) => serializer.serialize_u32(*value),
            Value::I64(value) => serializer.collect_str(value),
            Value::U64(value) => serializer.collect_str(value),
            Value::F32(value) if value.is_finite() => serializer.serialize_f32(*value),
            Value::F32(value) => serializer.serialize_str(not_finite(f64::from(*value))),
            Value::F64(value) if value.is_finite() => serializer.serialize_f64(*value),
            Value::F64(value) => serializer.serialize_str(not_finite(*value)),
            Value::String(value) => serializer.serialize_str(value),
            Value::Bytes(value) => {
                serializer.collect_str(&Base64Display::new(value, &BASE64_STANDARD))
            }
            Value::EnumNumber(number) => self.enum_value(*number, serializer),
            Value::Message(message) => Whole { message, walk: self.walk }.serialize(serializer),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&One { value, ..*self })?;
                }
                list.end()
            }
            Value::Map(values) => {
                let Kind::Message(entry) = self.kind else {
                    return Err(S::Error::custom("a map whose schema is none"));
                };
                let kind = entry.map_entry_value_field().kind();
                let mut sorted: Vec<(&MapKey, &Value)> = values.iter().collect();
                sorted.sort_unstable_by_key(|(key, _)| *key);
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                for (key, value) in sorted {
                    map.serialize_entry(&Key(key), &One { value, kind: &kind, walk: self.walk })?;
                }
                map.end()
            }
        }
    }
}

impl One<'_> {
    fn enum_value<S: Serializer>(&self, number: i32, serializer: S) -> Result<S::Ok, S::Error> {
        let Kind::Enum(descriptor) = self.kind else {
            return Err(S::Error::custom("an enum whose schema is none"));
        };
        if descriptor.full_name() == "google.protobuf.NullValue" {
            return serializer.serialize_unit();
        }
        match descriptor.get_value(number) {
            Some(value) if !self.walk.options.enums_as_numbers => {
                serializer.serialize_str(value.name())
            }
            _ => serializer.serialize_i32(number),
        }
    }
}

/// JSON has no numbers for these.
fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

struct Key<'a>(&'a MapKey);

impl Serialize for Key<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            MapKey::Bool(key) => serializer.collect_str(key),
            MapKey::I32(key) => serializer.collect_str(key),
            MapKey::I64(key) => serializer.collect_str(key),
            MapKey::U32(key) => serializer.collect_str(key),
            MapKey::U64(key) => serializer.collect_str(key),
            MapKey::String(key) => serializer.serialize_str(key),
        }
    }
}

/// What a `google.protobuf.Any` holds.
struct Packed<'a> {
    pool: &'a DescriptorPool,
    url: &'a str,
    value: &'a [u8],
    walk: Walk<'a>,
}

impl Serialize for Packed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.url.is_empty() && self.value.is_empty() {
            return serializer.serialize_map(Some(0))?.end();
        }
        let name = self.url.rsplit('/').next().unwrap_or_default();
        let Some(descriptor) = self.pool.get_message_by_name(name) else {
            return raw(self.url, self.value).serialize(serializer);
        };
        let message = DynamicMessage::decode(descriptor, self.value)
            .map_err(|error| S::Error::custom(format!("an Any that is no {name}: {error}")))?;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("@type", self.url)?;
        if has_own_json(name) {
            map.serialize_entry("value", &Whole { message: &message, walk: self.walk })?;
        } else if self.walk.depth > MAX_DEPTH {
            return Err(S::Error::custom("messages are nested deeper than 100 levels"));
        } else {
            fields(&mut map, &message, Walk { depth: self.walk.depth + 1, ..self.walk })?;
        }
        map.end()
    }
}

/// Messages whose JSON is not an object of their fields.
fn has_own_json(full_name: &str) -> bool {
    let name = full_name.strip_prefix("google.protobuf.");
    name.is_some_and(|name| {
        is_wrapper(name)
            || matches!(
                name,
                "Any"
                    | "Duration"
                    | "Empty"
                    | "FieldMask"
                    | "ListValue"
                    | "Struct"
                    | "Timestamp"
                    | "Value"
            )
    })
}
