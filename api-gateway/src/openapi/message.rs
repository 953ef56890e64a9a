//! The JSON of messages and enums, as named JSON Schemas of the document.
//!
//! In: messages that operations use, and how they are written. Out: references, and the components that they lead to with all that these need.
//!
//! **Invariants**: a message is described once, however often and however deeply it is used: a message that contains itself
//! is a reference to itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor};
use serde_json::{Map, Value, json};

use super::comments::Comments;
use super::scalar::{scalar, well_known};
use crate::transcode::JsonOptions;

/// The component that every error is: a `google.rpc.Status`.
const ERROR: &str = "Error";
/// The component of a message of any type.
const ANY: &str = "google.protobuf.Any";

/// Components, and messages that wait to become one.
pub(super) struct Messages<'a> {
    prefix: String,
    comments: &'a Comments,
    json: JsonOptions,
    components: BTreeMap<String, Value>,
    open: Vec<MessageDescriptor>,
}

impl<'a> Messages<'a> {
    /// None yet; the names of components begin with `prefix`.
    pub(super) fn new(prefix: &str, comments: &'a Comments, json: JsonOptions) -> Self {
        let (prefix, components) = (prefix.to_owned(), BTreeMap::new());
        Self { prefix, comments, json, components, open: Vec::new() }
    }

    /// The comments of the schema.
    pub(super) fn comments(&self) -> &'a Comments {
        self.comments
    }

    /// The name under which a field is written.
    pub(super) fn name_of<'f>(&self, field: &'f FieldDescriptor) -> &'f str {
        if self.json.preserve_names { field.name() } else { field.json_name() }
    }

    /// A reference to a message, which becomes a component.
    pub(super) fn message(&mut self, message: &MessageDescriptor) -> Value {
        let name = self.name(message);
        let reference = json!({"$ref": reference(&name)});
        if let Entry::Vacant(place) = self.components.entry(name) {
            // Holds the place until `complete`, so that it is not opened twice.
            place.insert(Value::Bool(true));
            self.open.push(message.clone());
        }
        reference
    }

    /// The value of a field: a list, a map or one value.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        if !field.is_map() {
            let one = self.value(&field.kind());
            return if field.is_list() { json!({"type": "array", "items": one}) } else { one };
        }
        let Kind::Message(entry) = field.kind() else { return json!({"type": "object"}) };
        let values = self.value(&entry.map_entry_value_field().kind());
        let mut map = json!({"type": "object", "additionalProperties": values});
        if let (Some(map), Some(names)) =
            (map.as_object_mut(), key_names(&entry.map_entry_key_field().kind()))
        {
            map.insert("propertyNames".to_owned(), names);
        }
        map
    }

    fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(of) => self.enumeration(of),
            kind => scalar(kind).unwrap_or(Value::Bool(true)),
        }
    }

    /// One of an enum's names, or numbers.
    pub(super) fn enumeration(&mut self, of: &EnumDescriptor) -> Value {
        if of.full_name() == "google.protobuf.NullValue" {
            return json!({"type": "null"});
        }
        let name = format!("{}{}", self.prefix, of.full_name());
        let reference = json!({"$ref": reference(&name)});
        let mut names: Vec<String> = of.values().map(|value| value.name().to_owned()).collect();
        // Aliases of one number.
        names.dedup();
        let schema = if self.json.enums_as_numbers {
            json!({"type": "integer", "format": "int32"})
        } else {
            json!({"type": "string", "enum": names})
        };
        self.components.insert(name, with_comment(schema, self.comments.of_enum(of)));
        reference
    }

    /// Describes what waits, and what that leads to.
    pub(super) fn complete(&mut self) {
        while let Some(message) = self.open.pop() {
            // Comments of well-known types speak of what is not seen in JSON.
            let schema = well_known(&message).unwrap_or_else(|| {
                with_comment(self.object(&message), self.comments.of_message(&message))
            });
            self.components.insert(self.name(&message), schema);
        }
    }

    /// Well-known types are the same everywhere.
    fn name(&self, message: &MessageDescriptor) -> String {
        let prefix = if well_known(message).is_some() { "" } else { &self.prefix };
        format!("{prefix}{}", message.full_name())
    }

    /// All components so far.
    pub(super) fn components(&self) -> &BTreeMap<String, Value> {
        &self.components
    }

    /// All components.
    pub(super) fn into_components(self) -> BTreeMap<String, Value> {
        self.components
    }

    fn object(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields() {
            let schema = with_comment(self.field(&field), self.comments.of_field(&field));
            let name = self.name_of(&field).to_owned();
            if field.is_required() {
                required.push(name.clone());
            }
            properties.insert(name, with_deprecation(schema, &field));
        }
        let mut object = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("properties".to_owned(), Value::Object(properties)),
        ]);
        // Extensions come under names of their own.
        if message.extension_ranges().next().is_none() {
            object.insert("additionalProperties".to_owned(), json!(false));
        }
        if !required.is_empty() {
            object.insert("required".to_owned(), json!(required));
        }
        let oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic());
        let exclusive: Map<_, _> = oneofs.flat_map(|oneof| self.exclusions(&oneof)).collect();
        if !exclusive.is_empty() {
            object.insert("dependentSchemas".to_owned(), Value::Object(exclusive));
        }
        Value::Object(object)
    }

    /// For each field of a oneof: where it is, the others are not.
    fn exclusions(&self, oneof: &OneofDescriptor) -> Vec<(String, Value)> {
        let names = oneof.fields().map(|field| self.name_of(&field).to_owned());
        let names: Vec<String> = names.collect();
        let without = |name: &String| {
            let others = names.iter().filter(|other| *other != name);
            let others: Map<_, _> = others.map(|other| (other.clone(), json!(false))).collect();
            (name.clone(), json!({"properties": others}))
        };
        if names.len() < 2 { Vec::new() } else { names.iter().map(without).collect() }
    }
}

/// The components that errors are made of.
pub(super) fn error_components() -> BTreeMap<String, Value> {
    let status = json!({
        "type": "object",
        "description": "Why a request failed: a google.rpc.Status.",
        "properties": {
            "code": {
                "type": "integer",
                "format": "int32",
                "description": "The code of gRPC, such as 5 for NOT_FOUND.",
            },
            "message": {"type": "string", "description": "For people."},
            "details": {
                "type": "array",
                "items": {"$ref": reference(ANY)},
                "description": "For programs.",
            },
        },
    });
    let pool = prost_reflect::DescriptorPool::global();
    let any = pool.get_message_by_name(ANY).and_then(|any| well_known(&any));
    let any = any.unwrap_or(Value::Bool(true));
    BTreeMap::from([(ERROR.to_owned(), status), (ANY.to_owned(), any)])
}

/// The component of errors, for responses.
pub(super) fn error_reference() -> Value {
    json!({"$ref": reference(ERROR)})
}

fn key_names(key: &Kind) -> Option<Value> {
    match key {
        Kind::String => None,
        Kind::Bool => Some(json!({"enum": ["true", "false"]})),
        _ => Some(json!({"pattern": "^-?[0-9]+$"})),
    }
}

fn reference(name: &str) -> String {
    format!("#/components/schemas/{name}")
}

/// The schema with a description, unless it has one.
fn with_comment(mut schema: Value, comment: Option<String>) -> Value {
    if let (Some(object), Some(comment)) = (schema.as_object_mut(), comment) {
        object.entry("description").or_insert(Value::from(comment));
    }
    schema
}

fn with_deprecation(mut schema: Value, field: &FieldDescriptor) -> Value {
    let options = field.field_descriptor_proto().options.as_ref();
    if let (Some(object), Some(true)) =
        (schema.as_object_mut(), options.map(|options| options.deprecated()))
    {
        object.insert("deprecated".to_owned(), json!(true));
    }
    schema
}
