//! The canonical JSON of single values, as JSON Schema 2020-12.
//!
//! In: the kind of a field. Out: the schema of one value of it. Well-known types whose JSON is not an object of their
//! fields are here as well.

use prost_reflect::{Kind, MessageDescriptor};
use serde_json::{Value, json};

/// A value that is neither message nor enum.
pub(super) fn scalar(kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Double => floating("double"),
        Kind::Float => floating("float"),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({"type": "integer", "format": "int32"})
        }
        Kind::Uint32 | Kind::Fixed32 => {
            json!({"type": "integer", "minimum": 0, "maximum": u32::MAX})
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
        }
        Kind::Uint64 | Kind::Fixed64 => {
            json!({"type": "string", "format": "uint64", "pattern": "^[0-9]+$"})
        }
        Kind::Bool => json!({"type": "boolean"}),
        Kind::String => json!({"type": "string"}),
        Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
        Kind::Message(_) | Kind::Enum(_) => return None,
    })
}

fn floating(format: &str) -> Value {
    let special = json!({"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]});
    json!({"oneOf": [{"type": "number", "format": format}, special]})
}

/// A well-known message whose JSON is something else than its fields.
pub(super) fn well_known(message: &MessageDescriptor) -> Option<Value> {
    Some(match message.full_name().strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({
            "type": "string",
            "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$",
            "examples": ["1.5s"],
            "description": "Seconds, with up to nine digits after the point.",
        }),
        "FieldMask" => json!({
            "type": "string",
            "description": "Paths of fields, in lowerCamelCase, separated by commas.",
        }),
        "Struct" => json!({"type": "object", "additionalProperties": true}),
        "ListValue" => json!({"type": "array", "items": true}),
        "Value" => json!({"description": "Any JSON value."}),
        "Empty" => json!({"type": "object", "additionalProperties": false}),
        "Any" => json!({
            "type": "object",
            "required": ["@type"],
            "properties": {
                "@type": {
                    "type": "string",
                    "description": "The type of the message whose fields stand beside it.",
                },
            },
            "additionalProperties": true,
        }),
        _ => nullable(wrapped(message)?),
    })
}

/// What a wrapper such as `google.protobuf.Int64Value` holds.
pub(super) fn wrapped(message: &MessageDescriptor) -> Option<Value> {
    let name = message.full_name().strip_prefix("google.protobuf.")?.strip_suffix("Value")?;
    let is_wrapper = matches!(
        name,
        "Double" | "Float" | "Int64" | "UInt64" | "Int32" | "UInt32" | "Bool" | "String" | "Bytes"
    );
    is_wrapper.then(|| scalar(&message.get_field(1)?.kind())).flatten()
}

fn nullable(schema: Value) -> Value {
    match schema {
        Value::Object(mut one) if one.contains_key("type") => {
            one.insert("type".to_owned(), json!([one.get("type"), "null"]));
            Value::Object(one)
        }
        several => json!({"oneOf": [several, {"type": "null"}]}),
    }
}
