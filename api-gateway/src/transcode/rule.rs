//! `google.api.http` as it stands in a method's options.
//!
//! In: a method. Out: its rule. The options are read back from their own bytes: so it does not matter whether the
//! service's schema brings `google/api/annotations.proto`, or leaves the option behind as an unknown field.

use prost::Message;
use prost_reflect::MethodDescriptor;

/// The part of `google.protobuf.MethodOptions` that is read here.
#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(message, optional, tag = "72295728")]
    http: Option<HttpRule>,
}

/// `google.api.HttpRule`; its `selector` means nothing in a method's own options.
#[derive(Clone, PartialEq, Message)]
pub(super) struct HttpRule {
    #[prost(oneof = "Pattern", tags = "2, 3, 4, 5, 6, 8")]
    pub(super) pattern: Option<Pattern>,
    #[prost(string, tag = "7")]
    pub(super) body: String,
    #[prost(message, repeated, tag = "11")]
    pub(super) additional_bindings: Vec<HttpRule>,
    #[prost(string, tag = "12")]
    pub(super) response_body: String,
}

/// HTTP method and template.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Pattern {
    #[prost(string, tag = "2")]
    Get(String),
    #[prost(string, tag = "3")]
    Put(String),
    #[prost(string, tag = "4")]
    Post(String),
    #[prost(string, tag = "5")]
    Delete(String),
    #[prost(string, tag = "6")]
    Patch(String),
    #[prost(message, tag = "8")]
    Custom(CustomHttpPattern),
}

/// `google.api.CustomHttpPattern`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CustomHttpPattern {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) path: String,
}

impl Pattern {
    /// The HTTP method's name, and the template.
    pub(super) fn parts(&self) -> (&str, &str) {
        match self {
            Self::Get(path) => ("GET", path),
            Self::Put(path) => ("PUT", path),
            Self::Post(path) => ("POST", path),
            Self::Delete(path) => ("DELETE", path),
            Self::Patch(path) => ("PATCH", path),
            Self::Custom(custom) => (&custom.kind, &custom.path),
        }
    }
}

/// The rule in a method's options, if it has one.
pub(super) fn of(rpc: &MethodDescriptor) -> Result<Option<HttpRule>, prost::DecodeError> {
    let options = rpc.options().encode_to_vec();
    Ok(MethodOptions::decode(options.as_slice())?.http)
}
