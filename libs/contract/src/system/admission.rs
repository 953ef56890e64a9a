//! Who is let in through the Router: ways to prove who calls, what else is asked, and how often.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Span;
use crate::keys::KeyFolder;

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
    /// The header that carries the token. Absent: `authorization: Bearer TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The claim that names the consumer, who is told to services and counted by limits. Absent: `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Claims that services get as headers: claim → header. Nested claims are written with dots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// How far clocks may differ. Absent: one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Span>,
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
    /// The folder of Consul's KV that holds the keys' hashes, below `mesh/keys/`.
    pub keys: KeyFolder,
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

/// What a proven caller must have besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Scopes, all of them: words of a token's `scope` claim, or scopes of a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Claims of a token, each with the values of which it must have one. A key has no claims.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Vec<String>>,
}

/// How many requests are let through, by each gateway Envoy for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    /// Of all together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Rate>,
    /// Of each consumer: the owner of a key, the subject of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<Rate>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many requests; also the size of the bucket.
    #[schemars(range(min = 1, max = 4_294_967_295u32))]
    pub requests: u32,
    /// In which time.
    pub per: Span,
}
