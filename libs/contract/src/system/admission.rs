//! Who is let in through the Router: ways to prove who calls, what else is asked, and how often.

use std::collections::BTreeMap;
use std::str::FromStr;

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
    /// The `iss` claim, exactly.
    pub issuer: String,
    /// Accepted `aud` claims. Absent: every audience.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// The issuer's public keys.
    pub jwks: Jwks,
    /// The header that carries the token. Absent: `authorization: Bearer TOKEN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The claim that names the consumer, who is told to services and counted by limits; a token without it is refused.
    /// Absent: `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
    /// Claims that services get as headers: claim → header. Nested claims are written with dots.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// Whether services get the token too. Absent: it ends at the gateway, and they get `claims`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forward: bool,
    /// How far clocks may differ, in whole seconds. Absent: one minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leeway: Option<Span>,
}

/// Where public keys come from: one of `url` and `inline`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// Fetched from this address by each gateway, again every five minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// File on the gateways' hosts with the authorities (PEM) that may sign the certificate of an https address.
    /// Absent: `/etc/ssl/certs/ca-certificates.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Written here, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
}

/// Where a `url` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    /// Whether it is https.
    pub is_tls: bool,
    /// Host name or IPv4 address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl FromStr for HttpAddress {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, &'static str> {
        let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("expected an http:// or https:// address"),
        };
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains('#') {
            return Err("an address has neither spaces nor a fragment");
        }
        let (authority, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            None => (authority, if is_tls { 443 } else { 80 }),
            Some((host, port)) => {
                let port = port.parse().ok().filter(|port| *port > 0);
                (host, port.ok_or("expected a port from 1 to 65535 after the host")?)
            }
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err("expected a host name or an IPv4 address after the scheme");
        }
        Ok(Self { is_tls, host: host.to_owned(), port })
    }
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
