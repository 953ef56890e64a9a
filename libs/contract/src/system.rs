//! What an operator says about a System: one YAML document each (design 3.2).
//!
//! This file holds the document's shape. `document.rs` beside it reads text into it and reports every problem with
//! its line and key path; `schema.rs` publishes the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::name::{ServiceName, SystemName};

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

/// A way to prove who calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthMethod {
    /// A signed token, checked by Envoy.
    Jwt(Jwt),
    /// A key in a header, checked by the api-gateway application.
    ApiKey(ApiKey),
}

/// How a token is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The `iss` claim.
    pub issuer: String,
    /// Accepted `aud` claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// The issuer's public keys.
    pub jwks: Jwks,
}

/// Where public keys come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Jwks {
    /// Fetched from this address.
    Url(String),
    /// Written here, as JSON.
    Inline(String),
}

/// How a key is checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The header that carries it.
    pub header: String,
    /// The Consul KV folder of the keys' hashes.
    pub keys: String,
}

/// One way, or several of which one must succeed. `none` stands alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AuthChoice {
    /// The name of an entry of `auth`, or `none`.
    One(String),
    /// Names of entries of `auth`.
    AnyOf(Vec<String>),
}

/// One exposed route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Which requests.
    #[serde(rename = "match")]
    pub matches: RouteMatch,
    /// The System's service that answers.
    pub to: ServiceName,
    /// How long the answer may take, retries included; `0s`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// In place of `default_auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AuthChoice>,
    /// REST outside, gRPC inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convert: Option<Convert>,
}

/// Which requests a route takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RouteMatch {
    /// This path and everything below it: `/orders` takes `/orders` and `/orders/7`, not `/orders2`.
    Prefix(String),
    /// This path only.
    Path(String),
}

/// When a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// After which failures.
    pub on: Vec<RetryOn>,
    /// How many times at the most, the first try not counted.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
}

/// A failure after which a request may be tried again (Envoy's words).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// Any 5xx answer, or none.
    #[serde(rename = "5xx")]
    FiveXx,
    /// 502, 503 or 504.
    GatewayError,
    /// No connection.
    ConnectFailure,
    /// The instance refused the stream before reading it.
    RefusedStream,
    /// The connection broke before an answer.
    Reset,
    /// The connection broke before the request was sent.
    ResetBeforeRequest,
}

impl RetryOn {
    /// Envoy's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveXx => "5xx",
            Self::GatewayError => "gateway-error",
            Self::ConnectFailure => "connect-failure",
            Self::RefusedStream => "refused-stream",
            Self::Reset => "reset",
            Self::ResetBeforeRequest => "reset-before-request",
        }
    }
}

/// REST ↔ gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Convert {
    /// Full names of the gRPC services offered as REST.
    pub grpc: Vec<String>,
}

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
    /// The header whose presence asks for a canary. Absent: `x-mesh-track: canary`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// How one service is called by everyone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServicePolicy {
    /// How long an answer may take; `0s`: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How long a connection may take to open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Span>,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Circuit breakers, per calling proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// When a failing instance is left alone for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier: Option<Outlier>,
}

/// Circuit-breaker limits of one calling proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_295u32))]
    pub connections: Option<u32>,
    /// Requests waiting for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_295u32))]
    pub pending_requests: Option<u32>,
    /// Requests under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_295u32))]
    pub requests: Option<u32>,
}

/// Outlier detection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outlier {
    /// Failures in a row (502, 503, 504, or no answer) that eject an instance; 0 turns ejection off.
    #[schemars(range(max = 4_294_967_295u32))]
    pub consecutive_failures: u32,
    /// How long the first ejection lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejection: Option<Span>,
}
