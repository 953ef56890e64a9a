//! One operation: a binding as OpenAPI says it.
//!
//! In: a binding and its route. Out: parameters, request body, responses, security.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::message::{Messages, error_reference};
use super::path::{self, PathParameter};
use super::{RestRoute, comments, query, scalar};
use crate::transcode::{Binding, Body};

/// A message that stands for a body of any type.
const HTTP_BODY: &str = "google.api.HttpBody";

/// An operation that still lacks the names of its path's parameters.
pub(super) struct Operation {
    rpc: String,
    parameters: Vec<(PathParameter, Value)>,
    rest: Map<String, Value>,
}

impl Operation {
    pub(super) fn new(binding: &Binding, route: &RestRoute, messages: &mut Messages<'_>) -> Self {
        let rpc = &binding.rpc;
        let (_, parameters) = path::parameters(&binding.template);
        let parameters = parameters.into_iter().map(|one| {
            let schema = schema_of(&one, binding, messages);
            (one, schema)
        });
        let parameters = parameters.collect();
        let (query, is_more) = query::parameters(binding, messages);
        let mut rest = Map::from_iter([
            ("tags".to_owned(), json!([rpc.parent_service().full_name()])),
            ("parameters".to_owned(), Value::Array(query)),
            ("responses".to_owned(), responses(binding, route, messages)),
            ("security".to_owned(), route.auth.iter().map(|way| json!({way: []})).collect()),
        ]);
        let comment = messages.comments().of_method(rpc);
        let mut description: Vec<String> = comment.clone().into_iter().collect();
        if let Some(comment) = &comment {
            rest.insert("summary".to_owned(), Value::from(comments::summary(comment)));
        }
        description.extend(is_more.then(|| {
            "There are more query parameters than are listed: fields of nested messages, with dots.".to_owned()
        }));
        description.push(format!("gRPC: `{}`", rpc.full_name()));
        rest.insert("description".to_owned(), Value::from(description.join("\n\n")));
        if let Some(body) = request_body(binding, messages) {
            rest.insert("requestBody".to_owned(), body);
        }
        if rpc
            .method_descriptor_proto()
            .options
            .as_ref()
            .is_some_and(|options| options.deprecated())
        {
            rest.insert("deprecated".to_owned(), json!(true));
        }
        Self { rpc: rpc.full_name().to_owned(), parameters, rest }
    }

    /// The operation; `number` tells bindings of one method apart.
    pub(super) fn finish(&self, names: &[String], number: usize) -> Value {
        let mut operation = self.rest.clone();
        let id = if number == 1 { self.rpc.clone() } else { format!("{}-{number}", self.rpc) };
        operation.insert("operationId".to_owned(), Value::from(id));
        let parameters = self.parameters.iter().zip(names).map(|((parameter, schema), name)| {
            let mut described =
                json!({"name": name, "in": "path", "required": true, "schema": schema});
            if let (Some(object), Some(text)) =
                (described.as_object_mut(), describe(parameter, name))
            {
                object.insert("description".to_owned(), Value::from(text));
            }
            described
        });
        let mut all: Vec<Value> = parameters.collect();
        if let Some(Value::Array(query)) = operation.remove("parameters") {
            all.extend(query);
        }
        if !all.is_empty() {
            operation.insert("parameters".to_owned(), Value::Array(all));
        }
        Value::Object(operation)
    }
}

/// The schema of a parameter of the path.
fn schema_of(parameter: &PathParameter, binding: &Binding, messages: &mut Messages<'_>) -> Value {
    let field = parameter.variable.and_then(|of| binding.captures.get(of)?.last());
    match field.map(FieldDescriptor::kind) {
        _ if parameter.is_part || parameter.is_rest => json!({"type": "string"}),
        Some(Kind::Enum(of)) => messages.enumeration(&of),
        Some(Kind::Message(message)) => {
            query::text_of(&message).unwrap_or(json!({"type": "string"}))
        }
        Some(kind) => scalar::scalar(&kind).unwrap_or(json!({"type": "string"})),
        None => json!({"type": "string"}),
    }
}

fn describe(parameter: &PathParameter, name: &str) -> Option<String> {
    let mut text = Vec::new();
    if parameter.is_part && !parameter.is_rest {
        text.push("One segment of a name that the path spells out.".to_owned());
    }
    if parameter.name != name {
        text.push(format!("Sets `{}`.", parameter.name));
    }
    if parameter.is_rest {
        text.push(
            "All that is left of the path. Slashes in it are written as they are: encoded ones stay encoded."
                .to_owned(),
        );
    }
    (!text.is_empty()).then(|| text.join(" "))
}

fn request_body(binding: &Binding, messages: &mut Messages<'_>) -> Option<Value> {
    let content = match &binding.body {
        Body::None => return None,
        Body::Whole => of_message(&binding.rpc.input(), messages),
        Body::Field(field) => of_field(field, messages),
    };
    // No body is an empty message: not required.
    Some(json!({"content": content}))
}

fn responses(binding: &Binding, route: &RestRoute, messages: &mut Messages<'_>) -> Value {
    let refer = |name: &str| json!({"$ref": format!("#/components/responses/{name}")});
    let mut responses = Map::new();
    if binding.rpc.is_client_streaming() {
        responses.insert("501".to_owned(), refer("NeedsGrpc"));
        return Value::Object(responses);
    }
    let content = match &binding.response_body {
        None => of_message(&binding.rpc.output(), messages),
        Some(field) => of_field(field, messages),
    };
    let (content, description) = match binding.rpc.is_server_streaming() {
        true => (streamed(content), "The messages, one after the other, as they come."),
        false => (content, "The answer."),
    };
    responses.insert("200".to_owned(), json!({"description": description, "content": content}));
    responses.insert("400".to_owned(), refer("BadRequest"));
    if !route.auth.is_empty() {
        responses.insert("401".to_owned(), refer("Unauthenticated"));
        responses.insert("403".to_owned(), refer("Forbidden"));
    }
    responses.insert("503".to_owned(), refer("Unavailable"));
    responses.insert("default".to_owned(), refer("Error"));
    Value::Object(responses)
}

/// The responses that operations refer to.
pub(super) fn error_responses() -> Value {
    let known = [
        ("BadRequest", "The request does not fit the method: its JSON, a parameter or a value."),
        ("Error", "The call failed; the HTTP status follows from the code of gRPC."),
        ("Forbidden", "Who calls may not do this."),
        ("NeedsGrpc", "The client streams to this method: only a gRPC client can call it."),
        ("Unauthenticated", "Who calls did not prove who it is."),
        ("Unavailable", "The service is away; the request may be tried again."),
    ];
    let response = |(name, description): (&str, &str)| {
        let content = json!({"application/json": {"schema": error_reference()}});
        (name.to_owned(), json!({"description": description, "content": content}))
    };
    Value::Object(known.into_iter().map(response).collect())
}

fn of_message(message: &MessageDescriptor, messages: &mut Messages<'_>) -> Value {
    if message.full_name() == HTTP_BODY {
        return json!({"*/*": {}});
    }
    json!({"application/json": {"schema": messages.message(message)}})
}

fn of_field(field: &FieldDescriptor, messages: &mut Messages<'_>) -> Value {
    match field.kind() {
        Kind::Message(message) if !field.is_list() && message.full_name() == HTTP_BODY => {
            json!({"*/*": {}})
        }
        _ => json!({"application/json": {"schema": messages.field(field)}}),
    }
}

/// A stream of what would be the answer. A body that is no JSON stays what it is.
fn streamed(content: Value) -> Value {
    let Some(one) = content.pointer("/application~1json/schema") else { return content };
    let error = json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": error_reference()},
        "description": "The last line of a stream that failed.",
    });
    let events = json!({
        "type": "string",
        "description": "Server-sent events, with `Accept: text/event-stream`; the data of each is one line of the other form.",
    });
    json!({
        "application/x-ndjson": {"schema": {
            "anyOf": [one, error],
            "description": "Each line is one such value.",
        }},
        "text/event-stream": {"schema": events},
    })
}
