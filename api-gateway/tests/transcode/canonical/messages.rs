//! Messages that no JSON text makes.

use prost_reflect::{DynamicMessage, Kind, Value};

use crate::schema;

/// `Kinds` with one field, a well-known message of these fields.
fn with(field: &str, inside: &[(&str, Value)]) -> DynamicMessage {
    let mut message = DynamicMessage::new(schema::kinds());
    let Kind::Message(kind) = schema::kinds().get_field_by_name(field).unwrap().kind() else {
        panic!("{field} is no message");
    };
    let mut known = DynamicMessage::new(kind);
    for (name, value) in inside {
        known.set_field_by_name(name, value.clone());
    }
    message.set_field_by_name(field, Value::Message(known));
    message
}

fn any(url: &str, value: &[u8]) -> DynamicMessage {
    let url = Value::String(url.to_owned());
    with("any", &[("type_url", url), ("value", Value::Bytes(value.to_vec().into()))])
}

fn mask(path: &str) -> DynamicMessage {
    with("mask", &[("paths", Value::List(vec![Value::String(path.to_owned())]))])
}

fn time(field: &str, seconds: i64, nanos: i32) -> DynamicMessage {
    with(field, &[("seconds", Value::I64(seconds)), ("nanos", Value::I32(nanos))])
}

/// Their names, and themselves.
pub(super) fn messages() -> Vec<(String, DynamicMessage)> {
    let number = |value| with("value", &[("number_value", Value::F64(value))]);
    let double = |value| with("wrapped_double", &[("value", Value::F64(value))]);
    let float = |value| with("wrapped_float", &[("value", Value::F32(value))]);
    let inner = "type.googleapis.com/echo.v1.Inner";
    let messages = [
        ("value: nothing", with("value", &[])),
        ("value: NaN", number(f64::NAN)),
        ("value: Infinity", number(f64::INFINITY)),
        ("wrapped double: NaN", double(f64::NAN)),
        ("wrapped double: -Infinity", double(f64::NEG_INFINITY)),
        ("wrapped float: NaN", float(f32::NAN)),
        ("wrapped float: 0.1", float(0.1)),
        ("any: empty", any("", b"")),
        ("any: known", any(inner, b"\x0a\x01a")),
        ("any: known by another host", any("example.com/x/echo.v1.Inner", b"")),
        ("any: garbage", any(inner, b"\x0a\x7f")),
        ("any: unknown type", any("type.googleapis.com/echo.v1.None", b"\x0a\x01a")),
        ("any: no slash", any("echo.v1.Inner", b"")),
        ("any: empty within", any("type.googleapis.com/google.protobuf.Empty", b"")),
        ("any: wrapped", any("type.googleapis.com/google.protobuf.Int64Value", b"\x08\x05")),
        ("mask: snake case", mask("foo_bar.b_c")),
        ("mask: camel case", mask("fooBar")),
        ("mask: digit", mask("foo_1")),
        ("mask: two underscores", mask("foo__bar")),
        ("timestamp: before year 1", time("timestamp", -62_135_596_801, 0)),
        ("timestamp: after year 9999", time("timestamp", 253_402_300_800, 0)),
        ("timestamp: first", time("timestamp", -62_135_596_800, 0)),
        ("timestamp: last", time("timestamp", 253_402_300_799, 999_999_999)),
        ("timestamp: milliseconds", time("timestamp", 0, 1_000_000)),
        ("timestamp: microseconds", time("timestamp", 0, 1_000)),
        ("timestamp: negative nanoseconds", time("timestamp", 0, -1)),
        ("timestamp: too many nanoseconds", time("timestamp", 0, 1_000_000_000)),
        ("duration: longest", time("duration", 315_576_000_000, 999_999_999)),
        ("duration: too long", time("duration", 315_576_000_001, 0)),
        ("duration: negative", time("duration", -1, -500_000_000)),
        ("duration: two signs", time("duration", 1, -500_000_000)),
        ("duration: too many nanoseconds", time("duration", 0, 1_000_000_000)),
    ];
    messages.into_iter().map(|(name, message)| (name.to_owned(), message)).collect()
}
