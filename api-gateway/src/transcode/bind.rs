//! A request's parts into fields of the message: body, then path, then query.
//!
//! In: a binding and what belongs to it. Out: the request message. A field that the path or the body binds may not be in
//! the query as well.

use std::borrow::Cow;
use std::collections::BTreeSet;

use bytes::Bytes;
use http::StatusCode;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use tonic::Code;

use super::binding::{Binding, Body, is_text};
use super::decode::{self, JsonError};
use super::error::list;
use super::options::Limits;
use super::refusal::Refusal;
use super::routes::Found;
use super::text;

/// What a request brings besides its path.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Without the question mark.
    pub query: Option<&'a str>,
    /// As the client wrote it.
    pub content_type: Option<&'a str>,
    /// All of it.
    pub body: &'a Bytes,
}

/// The request message.
pub fn message(
    found: &Found<'_>,
    parts: Parts<'_>,
    limits: &Limits,
) -> Result<DynamicMessage, Refusal> {
    let mut message = from_body(found.binding, parts, limits)?;
    set_captured(&mut message, found)?;
    if let Some(query) = parts.query {
        set_query(&mut message, found.binding, query)?;
    }
    Ok(message)
}

/// A message whose bytes are sent as they are.
pub(super) fn is_http_body(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.api.HttpBody"
}

fn from_body(
    binding: &Binding,
    parts: Parts<'_>,
    limits: &Limits,
) -> Result<DynamicMessage, Refusal> {
    let input = binding.rpc.input();
    let empty = || DynamicMessage::new(input.clone());
    match &binding.body {
        Body::None if parts.body.is_empty() => Ok(empty()),
        Body::None => Err(Refusal::invalid(format!(
            "{} {} takes no body; send its fields in the query",
            binding.method, binding.template
        ))),
        Body::Whole if is_http_body(&input) => raw(&input, parts),
        Body::Field(field) if let Some(raw_body) = http_body_of(field) => {
            let mut message = empty();
            set(&mut message, field, Value::Message(raw(&raw_body, parts)?))?;
            Ok(message)
        }
        _ if parts.body.is_empty() => Ok(empty()),
        Body::Whole => {
            expect_json(parts.content_type)?;
            decode::message(&input, parts.body, limits.depth)
                .map_err(|error| bad_json(&error, &input))
        }
        Body::Field(field) => {
            expect_json(parts.content_type)?;
            decode::field(&input, field, parts.body, limits.depth)
                .map_err(|error| bad_json(&error, &input))
        }
    }
}

fn http_body_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if is_http_body(&message) && !field.is_list() => Some(message),
        _ => None,
    }
}

/// `google.api.HttpBody`: content type and bytes.
fn raw(descriptor: &MessageDescriptor, parts: Parts<'_>) -> Result<DynamicMessage, Refusal> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let content_type = parts.content_type.unwrap_or_default().to_owned();
    for (number, value) in [(1, Value::String(content_type)), (2, Value::Bytes(parts.body.clone()))]
    {
        message.try_set_field_by_number(number, value).map_err(|_| {
            Refusal::new(Code::Internal, "the schema's google.api.HttpBody is another")
        })?;
    }
    Ok(message)
}

/// No content type passes: browsers name one with every body that they send to other sites unasked.
fn expect_json(content_type: Option<&str>) -> Result<(), Refusal> {
    let Some(content_type) = content_type else {
        return Ok(());
    };
    let mut parameters = content_type.split(';').map(str::trim);
    let essence = parameters.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    let charset = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("charset").then(|| value.trim_matches('"'))
    });
    if is_json && charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8")) {
        return Ok(());
    }
    let message = format!(
        "the body is {content_type:?}; send JSON in UTF-8 with `content-type: application/json`"
    );
    Err(Refusal::invalid(message).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

fn bad_json(error: &JsonError, input: &MessageDescriptor) -> Refusal {
    let refusal = if error.field.is_empty() {
        Refusal::invalid(format!("body: {}; it must be JSON of `{}`", error.why, input.full_name()))
    } else {
        Refusal::field(&error.field, &error.why)
    };
    refusal.with_http(StatusCode::BAD_REQUEST)
}

fn set_captured(message: &mut DynamicMessage, found: &Found<'_>) -> Result<(), Refusal> {
    let binding = found.binding;
    let captures = binding.captures.iter().zip(binding.template.variables());
    for ((path, variable), raw) in captures.zip(&found.captured) {
        let decoded = if variable.multi {
            text::percent_decode_unreserved(raw).map(Cow::Owned)
        } else {
            text::percent_decode(raw)
        };
        let value = decoded.and_then(|text| match path.last() {
            Some(field) => text::value(&field.kind(), &text),
            None => Err("the path of fields is empty".to_owned()),
        });
        let name = || variable.field_path.join(".");
        let value = value.map_err(|why| Refusal::field(&name(), &format!("in the path: {why}")))?;
        set_deep(message, path, value)?;
    }
    Ok(())
}

fn set_query(message: &mut DynamicMessage, binding: &Binding, query: &str) -> Result<(), Refusal> {
    let mut given = BTreeSet::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = form_decode(name).map_err(|why| Refusal::invalid(format!("query: {why}")))?;
        let wrong = |why: &str| Refusal::field(&name, &format!("in the query: {why}"));
        let value = form_decode(value).map_err(|why| wrong(&why))?;
        let path = query_path(&binding.rpc.input(), &name).map_err(|why| wrong(&why))?;
        if let Some(by) = bound_elsewhere(binding, &path) {
            return Err(wrong(&format!("{by} sets it; remove it from the query")));
        }
        let Some(field) = path.last() else { continue };
        let is_first = given.insert(path.iter().map(FieldDescriptor::number).collect::<Vec<_>>());
        if !is_first && !field.is_list() {
            return Err(wrong("is there twice, and is not repeated; give it once"));
        }
        let value = text::value(&field.kind(), &value).map_err(|why| wrong(&why))?;
        if is_first && let Some(other) = other_of_oneof(message, &path) {
            return Err(wrong(&format!("is in a oneof with `{other}`; give one of them")));
        }
        set_deep(message, &path, value)?;
    }
    Ok(())
}

/// Query strings write a space as `+`.
fn form_decode(text: &str) -> Result<String, String> {
    let spaced = text.replace('+', " ");
    text::percent_decode(&spaced).map(Cow::into_owned)
}

/// The fields that a name such as `order.id` stands for; each by either of its names.
fn query_path(input: &MessageDescriptor, name: &str) -> Result<Vec<FieldDescriptor>, String> {
    let mut path: Vec<FieldDescriptor> = Vec::new();
    let mut inside = Some(input.clone());
    for part in name.split('.') {
        let Some(message) = inside else {
            return Err(format!("nothing is inside the field before `{part}`"));
        };
        if path.last().is_some_and(|field| field.is_list() || field.is_map()) {
            return Err("no field inside a repeated one can be in a query; send a body".to_owned());
        }
        let known = message.get_field_by_name(part);
        let field = known.or_else(|| message.get_field_by_json_name(part)).ok_or_else(|| {
            let known: Vec<String> =
                message.fields().map(|field| field.json_name().to_owned()).collect();
            let (message, known) = (message.full_name(), list(&known));
            format!("`{message}` has no field `{part}`; its fields are {known}")
        })?;
        inside = match field.kind() {
            Kind::Message(message) => Some(message),
            _ => None,
        };
        path.push(field);
    }
    match (path.last(), inside) {
        (Some(field), _) if field.is_map() => {
            Err("a map cannot be in a query; send it in a body".to_owned())
        }
        (_, Some(message)) if !is_text(&message) => {
            Err(format!("is a `{}`; give the fields inside it", message.full_name()))
        }
        _ => Ok(path),
    }
}

/// What else sets this field, or one around or inside it.
fn bound_elsewhere(binding: &Binding, path: &[FieldDescriptor]) -> Option<&'static str> {
    match &binding.body {
        Body::Whole => return Some("the body"),
        Body::Field(field) if path.first() == Some(field) => return Some("the body"),
        Body::Field(_) | Body::None => {}
    }
    let overlaps = |captured: &Vec<FieldDescriptor>| captured.iter().zip(path).all(|(a, b)| a == b);
    binding.captures.iter().any(overlaps).then_some("the path")
}

/// The field that is set already where the last of these would be.
fn other_of_oneof(message: &DynamicMessage, path: &[FieldDescriptor]) -> Option<String> {
    let mut inside = Cow::Borrowed(message);
    for field in path {
        let oneof = field.containing_oneof();
        let mut others = oneof.iter().flat_map(|oneof| oneof.fields());
        let other = others.find(|other| other != field && inside.has_field(other));
        if let Some(other) = other {
            return Some(other.json_name().to_owned());
        }
        if !inside.has_field(field) {
            return None;
        }
        let next = inside.get_field(field).as_message()?.clone();
        inside = Cow::Owned(next);
    }
    None
}

fn set_deep(
    message: &mut DynamicMessage,
    path: &[FieldDescriptor],
    value: Value,
) -> Result<(), Refusal> {
    let Some((field, inside)) = path.split_first() else {
        return Ok(());
    };
    if !inside.is_empty()
        && let Some(message) = message.get_field_mut(field).as_message_mut()
    {
        return set_deep(message, inside, value);
    }
    if field.is_list()
        && let Some(list) = message.get_field_mut(field).as_list_mut()
    {
        list.push(value);
        return Ok(());
    }
    set(message, field, value)
}

fn set(message: &mut DynamicMessage, field: &FieldDescriptor, value: Value) -> Result<(), Refusal> {
    // The error's own text prints the field's type, which does not end where a message contains itself.
    message
        .try_set_field(field, value)
        .map_err(|_| Refusal::field(field.name(), "the schema has another type for it"))
}
