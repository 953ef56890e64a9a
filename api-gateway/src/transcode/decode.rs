//! Canonical JSON to messages.
//!
//! In: a body's bytes and what they are to be. Out: the message, or where the JSON is wrong. `serde_json` reads,
//! `prost-reflect` maps, [`Strict`] between them refuses what both would take.

use std::fmt;

use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::strict::{Seen, Strict};

/// Why a text is no JSON of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonError {
    /// The field, such as `orders[2].price`; empty: the whole.
    pub field: String,
    /// What is wrong, with line and column.
    pub why: String,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.field.is_empty() {
            write!(f, "field `{}`: ", self.field)?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for JsonError {}

/// A message of this type.
pub fn message(
    descriptor: &MessageDescriptor,
    json: &[u8],
    max_depth: usize,
) -> Result<DynamicMessage, JsonError> {
    read(json, max_depth, |reader| DynamicMessage::deserialize(descriptor.clone(), reader))
}

/// A message of this type with one field, from that field's JSON.
pub(super) fn field(
    descriptor: &MessageDescriptor,
    field: &FieldDescriptor,
    json: &[u8],
    max_depth: usize,
) -> Result<DynamicMessage, JsonError> {
    read(json, max_depth, |reader| {
        let reader = OneField { name: field.json_name(), value: reader };
        DynamicMessage::deserialize(descriptor.clone(), reader)
    })
}

/// A message that one string stands for, such as a timestamp.
pub(super) fn text(descriptor: &MessageDescriptor, text: &str) -> Result<DynamicMessage, String> {
    let reader: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
    DynamicMessage::deserialize(descriptor.clone(), reader).map_err(|error| error.to_string())
}

type JsonReader<'a, 'de> =
    Strict<'a, &'a mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>>;

fn read<'de>(
    json: &'de [u8],
    max_depth: usize,
    message: impl FnOnce(JsonReader<'_, 'de>) -> Result<DynamicMessage, serde_json::Error>,
) -> Result<DynamicMessage, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let seen = Seen::new(max_depth);
    let read = message(Strict::new(&mut reader, &seen));
    read.and_then(|message| reader.end().map(|()| message))
        .map_err(|error| JsonError { field: seen.path(), why: error.to_string() })
}

/// A map with one entry.
struct OneField<'a, D> {
    name: &'a str,
    value: D,
}

struct Entry<'a, D>(Option<&'a str>, Option<D>);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for OneField<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_map(Entry(Some(self.name), Some(self.value)))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, D: Deserializer<'de>> MapAccess<'de> for Entry<'_, D> {
    type Error = D::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, D::Error> {
        let name = self.0.take();
        name.map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, D::Error> {
        let value = self.1.take();
        seed.deserialize(value.ok_or_else(|| serde::de::Error::custom("a value read twice"))?)
    }
}
