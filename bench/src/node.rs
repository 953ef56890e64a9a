//! Who a simulated Envoy says it is: an encoded `envoy.config.core.v3.Node`.
//!
//! In: [`NodeMetadata`]. Out: bytes for the first request of a stream, or JSON for a real Envoy's bootstrap.
//! The metadata is the one that `meshctl bootstrap` writes.

use contract::node::NodeMetadata;
use serde_json::Value;

use crate::wire::put;

/// The encoded node.
///
/// # Errors
/// The metadata has no JSON form.
pub fn encode(id: &str, cluster: &str, mesh: &NodeMetadata) -> serde_json::Result<Vec<u8>> {
    let mut metadata = Vec::new();
    put(&mut metadata, 1, &entry("mesh", &serde_json::to_value(mesh)?));
    let mut node = Vec::new();
    put(&mut node, 1, id.as_bytes());
    put(&mut node, 2, cluster.as_bytes());
    put(&mut node, 3, &metadata);
    put(&mut node, 6, b"envoy");
    Ok(node)
}

/// An entry of `google.protobuf.Struct.fields`.
fn entry(key: &str, value: &Value) -> Vec<u8> {
    let mut entry = Vec::new();
    put(&mut entry, 1, key.as_bytes());
    put(&mut entry, 2, &encode_value(value));
    entry
}

/// A `google.protobuf.Value`.
fn encode_value(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Null => out.extend([1 << 3, 0]),
        Value::Bool(flag) => out.extend([4 << 3, u8::from(*flag)]),
        Value::Number(number) => {
            out.push(2 << 3 | 1);
            out.extend(number.as_f64().unwrap_or_default().to_le_bytes());
        }
        Value::String(text) => put(&mut out, 3, text.as_bytes()),
        Value::Array(values) => {
            let mut list = Vec::new();
            for value in values {
                put(&mut list, 1, &encode_value(value));
            }
            put(&mut out, 6, &list);
        }
        Value::Object(fields) => {
            let mut object = Vec::new();
            for (key, value) in fields {
                put(&mut object, 1, &entry(key, value));
            }
            put(&mut out, 5, &object);
        }
    }
    out
}
