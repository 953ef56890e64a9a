//! Query parameters: the fields that neither path nor body binds.
//!
//! In: a binding. Out: the parameters, nested fields with dots, as `price.units=1`.
//!
//! **Invariants**: a message inside itself is entered once; number and depth of parameters are bounded, and the document
//! says when there are more. Maps, repeated messages and messages of free form cannot stand in a query.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::message::Messages;
use super::scalar::{well_known, wrapped};
use crate::transcode::{Binding, Body};

/// More are not listed for one operation.
const MOST: usize = 200;
/// Messages within messages; deeper fields are not listed.
const DEEPEST: usize = 8;

/// The query parameters of a binding, and whether there are more than are listed.
pub(super) fn parameters(binding: &Binding, messages: &mut Messages<'_>) -> (Vec<Value>, bool) {
    let body = match &binding.body {
        Body::Whole => return (Vec::new(), false),
        Body::Field(field) => Some(field.full_name().to_owned()),
        Body::None => None,
    };
    let names = |path: &Vec<FieldDescriptor>| {
        path.iter().map(|field| field.name().to_owned()).collect::<Vec<_>>()
    };
    let mut walk = Walk {
        bound: binding.captures.iter().map(names).collect(),
        body,
        messages,
        inside: Vec::new(),
        found: Vec::new(),
        is_cut: false,
    };
    walk.message(&binding.rpc.input(), &mut Vec::new());
    let is_more = walk.is_cut || walk.found.len() > MOST;
    walk.found.truncate(MOST);
    (walk.found, is_more)
}

struct Walk<'a, 'c> {
    bound: BTreeSet<Vec<String>>,
    body: Option<String>,
    messages: &'a mut Messages<'c>,
    inside: Vec<String>,
    found: Vec<Value>,
    is_cut: bool,
}

impl Walk<'_, '_> {
    fn message(&mut self, message: &MessageDescriptor, path: &mut Vec<FieldDescriptor>) {
        if self.inside.iter().any(|name| name == message.full_name()) {
            return;
        }
        if self.inside.len() == DEEPEST || self.found.len() > MOST {
            self.is_cut = true;
            return;
        }
        self.inside.push(message.full_name().to_owned());
        for field in message.fields() {
            path.push(field.clone());
            let names: Vec<String> = path.iter().map(|one| one.name().to_owned()).collect();
            let is_body = path.len() == 1 && self.body.as_deref() == Some(field.full_name());
            if !is_body && !self.bound.contains(&names) {
                self.field(&field, path);
            }
            path.pop();
        }
        self.inside.pop();
    }

    fn field(&mut self, field: &FieldDescriptor, path: &mut Vec<FieldDescriptor>) {
        if field.is_map() {
            return;
        }
        let schema = match field.kind() {
            Kind::Message(message) => match text_of(&message) {
                Some(schema) if field.is_list() => json!({"type": "array", "items": schema}),
                Some(schema) => schema,
                None if field.is_list() || well_known(&message).is_some() => return,
                None => return self.message(&message, path),
            },
            _ => self.messages.field(field),
        };
        let names: Vec<&str> = path.iter().map(|one| self.messages.name_of(one)).collect();
        let mut parameter = json!({"name": names.join("."), "in": "query", "schema": schema});
        if let (Some(parameter), Some(comment)) =
            (parameter.as_object_mut(), self.messages.comments().of_field(field))
        {
            parameter.insert("description".to_owned(), Value::from(comment));
        }
        self.found.push(parameter);
    }
}

/// A message whose JSON is one value that can stand in a path or a query.
pub(super) fn text_of(message: &MessageDescriptor) -> Option<Value> {
    let is_text = matches!(
        message.full_name(),
        "google.protobuf.Timestamp" | "google.protobuf.Duration" | "google.protobuf.FieldMask"
    );
    if is_text { well_known(message) } else { wrapped(message) }
}
