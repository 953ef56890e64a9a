//! What an operator says about a System: one YAML document each (design 3.2).
//!
//! This file and its folder hold the document's shape: `route.rs` what the gateway exposes, `admission.rs` who is let
//! in, `policy.rs` how services are called. `pattern.rs` and `template.rs` read expressions and path templates, `cover.rs`
//! says which routes leave nothing to others. `document.rs` beside it reads text into it and reports every problem with
//! its line and key path; `schema.rs` publishes the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{ServiceName, SystemName};

mod admission;
mod cover;
mod pattern;
mod policy;
mod route;
mod template;

pub use admission::{
    ApiKey, AuthChoice, AuthMethod, HttpAddress, Jwks, Jwt, Rate, RateLimits, Requirement,
};
pub use cover::{Cover, Reach, is_within};
pub use pattern::{Pattern, escaped};
pub use policy::{Limits, Outlier, Retries, RetryOn, ServicePolicy};
pub use route::{
    Answer, Convert, Cors, Destination, Fits, HeaderChanges, HeaderEdits, Method, Mirror, Redirect,
    Route, RouteMatch, ValueMatch,
};

pub use template::{Segment, Template};

use crate::duration::Span;

/// A System's document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemDocument {
    /// Always `System`.
    pub kind: Kind,
    /// The System's name; the same as the KV key's or file's last part.
    pub name: SystemName,
    /// Host names that the Router matches, beside the path `/NAME/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
    /// Systems whose sidecars may enter through the gateway. Absent: all; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callers: Option<Vec<SystemName>>,
    /// Named ways to prove who calls.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub auth: BTreeMap<String, AuthMethod>,
    /// What a route without `auth` asks of the Router's callers; `none` must be written out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_auth: Option<AuthChoice>,
    /// How much the Router's clients may ask of each of the System's gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RateLimits>,
    /// Which web pages of other origins may call, for the routes below that do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Whether answers are compressed for clients that accept it, for the routes below that do not say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compress: bool,
    /// How many requests begin a trace: of clients at the Router, and of its services' own calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// While it is there, the Router answers 503 with it in the System's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// What the gateway exposes; first match wins; `mesh_path` routes come after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Who gets canary instances. Absent: only what asks for them by header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracks: Option<Tracks>,
    /// Consul services outside the mesh that this System may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<ServiceName>,
    /// How the System's services are called, where the defaults do not fit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceName, ServicePolicy>,
}

/// The document's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kind {
    /// A System's document.
    System,
}

/// A host name in lower case, without port; `*.example.com` matches every host below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct HostName(
    #[schemars(regex(
        pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$"
    ))]
    pub String,
);

/// Who gets which track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracks {
    /// The canary instances' share.
    pub canary: Canary,
}

/// The canary instances' share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Share of ordinary requests, 0 to 100.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
    /// The header whose presence asks for a canary. Absent: for a service the System's, else `x-mesh-track: canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// How many requests begin a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// Of requests that belong to no trace yet, 0 to 100. Who begins a trace decides for all of its way.
    #[schemars(range(min = 0, max = 100))]
    pub percent: u32,
}

/// What clients are told while a System is closed for work on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// One or more sentences for people.
    pub message: String,
    /// When to come back (the header `Retry-After`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Span>,
}
