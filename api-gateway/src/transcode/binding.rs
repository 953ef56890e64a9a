//! One way to call one gRPC method over HTTP.
//!
//! In: a method with its `google.api.http` rule. Out: [`Binding`]s, or what is wrong with the rule.
//!
//! A method without a `google.api.http` rule is `POST /package.Service/Method` with the message as its body. A method
//! that has a rule is reachable by its rule alone: who wrote it said where the method is, and both Envoy's transcoder
//! and grpc-gateway read it so.
//!
//! **Invariants**: every field that a binding names exists and can be set from where it is bound. **Absent**: requests, IO.

use std::fmt;

use http::Method;
use prost_reflect::{
    FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ServiceDescriptor,
};

use super::error::{ApiProblem, list};
use super::rule::{self, HttpRule, Pattern};
use super::template::PathTemplate;

/// One way to call one method.
#[derive(Clone)]
pub struct Binding {
    /// The HTTP method; `*` is any.
    pub method: Method,
    /// The path.
    pub template: PathTemplate,
    /// Fields that the template's variables set, in their order.
    pub captures: Vec<FieldPath>,
    /// What the request's body sets.
    pub body: Body,
    /// The field of the answer that is sent; `None`: the answer.
    pub response_body: Option<FieldDescriptor>,
    /// The method that is called.
    pub rpc: MethodDescriptor,
    /// There was no rule: this is `POST /package.Service/Method`.
    pub is_default: bool,
}

/// A field inside a message: from the request message down, never empty.
pub type FieldPath = Vec<FieldDescriptor>;

/// What a request's body sets.
#[derive(Clone, PartialEq)]
pub enum Body {
    /// Nothing: all fields that the path does not bind are query parameters.
    None,
    /// The request message; there are no query parameters.
    Whole,
    /// One field of it; the others are query parameters.
    Field(FieldDescriptor),
}

// Not derived: descriptors of `prost-reflect` print the messages of their fields, and those the messages of theirs, so
// that printing a message which contains itself overflows the stack.

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, template, body, .. } = self;
        write!(f, "{method} {template} {body:?} -> {}", self.rpc.full_name())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Whole => f.write_str("Whole"),
            Self::Field(field) => write!(f, "Field({})", field.name()),
        }
    }
}

/// `POST /package.Service/Method`.
pub(super) fn default_path(service: &ServiceDescriptor, rpc: &MethodDescriptor) -> String {
    format!("/{}/{}", service.full_name(), rpc.name())
}

/// Appends the bindings of a method.
pub(super) fn compile(
    rpc: &MethodDescriptor,
    bindings: &mut Vec<Binding>,
) -> Result<(), ApiProblem> {
    let wrong =
        |why: &str| ApiProblem::Rule { rpc: rpc.full_name().to_owned(), why: why.to_owned() };
    let rule = rule::of(rpc).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let Some(rule) = rule else {
        let path = default_path(rpc.parent_service(), rpc);
        let rule = HttpRule {
            pattern: Some(Pattern::Post(path)),
            body: "*".to_owned(),
            ..HttpRule::default()
        };
        let binding = bind_one(rpc, &rule)?;
        bindings.push(Binding { is_default: true, ..binding });
        return Ok(());
    };
    bindings.push(bind_one(rpc, &rule)?);
    for more in &rule.additional_bindings {
        if !more.additional_bindings.is_empty() {
            return Err(wrong(
                "has additional_bindings inside additional_bindings; write them side by side",
            ));
        }
        bindings.push(bind_one(rpc, more)?);
    }
    Ok(())
}

fn bind_one(rpc: &MethodDescriptor, rule: &HttpRule) -> Result<Binding, ApiProblem> {
    let name = || rpc.full_name().to_owned();
    let pattern = rule.pattern.as_ref().ok_or_else(|| ApiProblem::Rule {
        rpc: name(),
        why: "has no path; write one of get, put, post, delete, patch and custom".to_owned(),
    })?;
    let (method, text) = pattern.parts();
    let wrong = |why: String| ApiProblem::Binding { rpc: name(), template: text.to_owned(), why };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| {
        wrong(format!("{method:?} is no HTTP method; give `custom.kind` one, or `*` for all"))
    })?;
    let template: PathTemplate =
        text.parse().map_err(|error| wrong(format!("not a path template: {error}")))?;
    let input = rpc.input();
    let captures =
        template.variables().iter().map(|variable| captured(&input, &variable.field_path));
    let captures = captures.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    let body = match rule.body.as_str() {
        "" => Body::None,
        "*" => Body::Whole,
        field => Body::Field(top_level("body", &input, field).map_err(wrong)?),
    };
    let response_body = match rule.response_body.as_str() {
        "" => None,
        field => Some(top_level("response_body", &rpc.output(), field).map_err(wrong)?),
    };
    Ok(Binding {
        method,
        template,
        captures,
        body,
        response_body,
        rpc: rpc.clone(),
        is_default: false,
    })
}

fn top_level(
    what: &str,
    message: &MessageDescriptor,
    name: &str,
) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| {
        format!(
            "`{what}: \"{name}\"` names no field of `{}`; its fields are {}",
            message.full_name(),
            list(&field_names(message))
        )
    })
}

/// The fields that a variable names; the last can be set from text.
fn captured(message: &MessageDescriptor, names: &[String]) -> Result<FieldPath, String> {
    let mut path = FieldPath::new();
    let mut inside = Some(message.clone());
    for name in names {
        let Some(message) = inside else {
            let whole = names.join(".");
            return Err(format!("`{whole}`: nothing is inside the field before `{name}`"));
        };
        let field = message.get_field_by_name(name).ok_or_else(|| {
            let (message, known) = (message.full_name(), list(&field_names(&message)));
            format!("`{name}` is no field of `{message}`; its fields are {known}")
        })?;
        if field.is_list() || field.is_map() {
            return Err(format!(
                "`{name}` is repeated, and a path holds one value; capture another field"
            ));
        }
        inside = match field.kind() {
            Kind::Message(message) => Some(message),
            _ => None,
        };
        path.push(field);
    }
    match inside {
        Some(message) if !is_text(&message) => Err(format!(
            "`{}` is the message `{}`, which no path can hold; capture a field of it",
            names.join("."),
            message.full_name()
        )),
        _ => Ok(path),
    }
}

/// Messages whose JSON is one value that a path or a query can hold.
pub(super) fn is_text(message: &MessageDescriptor) -> bool {
    let name = message.full_name().strip_prefix("google.protobuf.");
    name.is_some_and(|name| {
        matches!(name, "Timestamp" | "Duration" | "FieldMask") || is_wrapper(name)
    })
}

/// Well-known messages around one scalar, by their names within `google.protobuf`.
pub(super) fn is_wrapper(name: &str) -> bool {
    matches!(
        name,
        "DoubleValue"
            | "FloatValue"
            | "Int64Value"
            | "UInt64Value"
            | "Int32Value"
            | "UInt32Value"
            | "BoolValue"
            | "StringValue"
            | "BytesValue"
    )
}

fn field_names(message: &MessageDescriptor) -> Vec<String> {
    message.fields().map(|field| field.name().to_owned()).collect()
}
