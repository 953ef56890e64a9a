//! What a service says about itself: the `mesh_*` keys of its Consul meta (design 3.1).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::SystemName;
use crate::upstreams::Upstreams;

/// What an instance speaks behind its sidecar.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, WebSocket upgrades included.
    #[default]
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC: HTTP/2, deadlines taken from `grpc-timeout`.
    Grpc,
    /// Bytes.
    Tcp,
}

/// What a registration is in the mesh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// An application behind a sidecar.
    #[default]
    Service,
    /// The Envoy that relays what enters a System.
    Gateway,
    /// The Envoy on a fixed address that clients know.
    Router,
}

/// Which traffic an instance takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// Ordinary traffic.
    #[default]
    Stable,
    /// The share that the System's document gives it, and what asks for it by header.
    Canary,
}

/// Where an instance's exporter answers, as reachable from its host: `PORT/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricsTarget {
    /// Host port.
    pub port: u16,
    /// Path with its leading slash.
    pub path: String,
}

/// Every key that [`Registration::from_meta`] reads.
pub const KEYS: [&str; 11] = [
    "mesh_system",
    "mesh_protocol",
    "mesh_role",
    "mesh_path",
    "mesh_upstreams",
    "mesh_ingress",
    "mesh_stats",
    "mesh_track",
    "mesh_instance",
    "mesh_weight",
    "mesh_metrics",
];

/// The parsed meta of one registration in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// `mesh_system`.
    pub system: SystemName,
    /// `mesh_protocol`.
    pub protocol: Protocol,
    /// `mesh_role`.
    pub role: Role,
    /// `mesh_path`: the prefix under which the System's gateway exposes it; begins with a slash.
    pub path: Option<String>,
    /// `mesh_upstreams`; `None`: all of its System, and the gateways.
    pub upstreams: Option<Upstreams>,
    /// `mesh_ingress`: a gateway's host port for the Router.
    pub ingress: Option<u16>,
    /// `mesh_stats`: host port of the sidecar's statistics listener.
    pub stats: Option<u16>,
    /// `mesh_track`.
    pub track: Track,
    /// `mesh_instance`: the allocation's id, which joins the registration to its proxy.
    pub instance: Option<String>,
    /// `mesh_weight`: 1 to 128.
    pub weight: Option<u32>,
    /// `mesh_metrics`.
    pub metrics: Option<MetricsTarget>,
}

/// A meta value that cannot be used; it rejects the one registration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("meta {key} = {value:?}: {reason}")]
pub struct MetaError {
    /// The key, such as `mesh_protocol`.
    pub key: &'static str,
    /// Its value.
    pub value: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl Registration {
    /// Reads the `mesh_*` keys. `None`: no `mesh_system`, so not in the mesh.
    pub fn from_meta(meta: &BTreeMap<String, String>) -> Result<Option<Self>, MetaError> {
        let Some(system) = read::<SystemName>(meta, "mesh_system")? else { return Ok(None) };
        Ok(Some(Self {
            system,
            protocol: read(meta, "mesh_protocol")?.unwrap_or_default(),
            role: read(meta, "mesh_role")?.unwrap_or_default(),
            path: read::<PathPrefix>(meta, "mesh_path")?.map(|path| path.0),
            upstreams: read(meta, "mesh_upstreams")?,
            ingress: read::<Port>(meta, "mesh_ingress")?.map(|port| port.0),
            stats: read::<Port>(meta, "mesh_stats")?.map(|port| port.0),
            track: read(meta, "mesh_track")?.unwrap_or_default(),
            instance: meta.get("mesh_instance").filter(|id| !id.is_empty()).cloned(),
            weight: read::<Weight>(meta, "mesh_weight")?.map(|weight| weight.0),
            metrics: read(meta, "mesh_metrics")?,
        }))
    }
}

/// The allocation in a service id that Nomad wrote: `_nomad-task-<36 characters>-…`.
///
/// Service and group names may hold `-`, so only the prefix and the length of the UUID can be relied on.
pub fn nomad_allocation(id: &str) -> Option<String> {
    id.strip_prefix("_nomad-task-")?.get(..36).map(str::to_owned)
}

/// Reads one key; an empty value counts as absent, because Nomad interpolates missing variables to nothing.
fn read<T>(meta: &BTreeMap<String, String>, key: &'static str) -> Result<Option<T>, MetaError>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    match meta.get(key).map(|value| value.trim()) {
        None | Some("") => Ok(None),
        Some(value) => value.parse().map(Some).map_err(|reason: T::Err| MetaError {
            key,
            value: value.to_owned(),
            reason: reason.to_string(),
        }),
    }
}

macro_rules! word_type {
    ($name:ident: $($word:literal => $variant:ident),+) => {
        impl FromStr for $name {
            type Err = String;

            fn from_str(value: &str) -> Result<Self, String> {
                match value {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("expected one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl $name {
            /// The word as it is written in meta.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

word_type!(Protocol: "http" => Http, "http2" => Http2, "grpc" => Grpc, "tcp" => Tcp);
word_type!(Role: "service" => Service, "gateway" => Gateway, "router" => Router);
word_type!(Track: "stable" => Stable, "canary" => Canary);

struct PathPrefix(String);
struct Port(u16);
struct Weight(u32);

impl FromStr for PathPrefix {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        check_path(value).map(|()| Self(value.to_owned()))
    }
}

/// Whether a string can be a path or prefix in a route.
pub(crate) fn check_path(value: &str) -> Result<(), String> {
    if !value.starts_with('/') {
        return Err("a path begins with /".to_owned());
    }
    if value.contains("//") || value.split('/').any(|part| part == "." || part == "..") {
        return Err(
            "a path has no empty, . or .. part: such requests are normalised before routing"
                .to_owned(),
        );
    }
    match value
        .bytes()
        .find(|b| !b.is_ascii_graphic() || matches!(b, b'?' | b'#' | b'%' | b';' | b'\\'))
    {
        Some(byte) => Err(format!("a path cannot hold {:?}", char::from(byte))),
        None => Ok(()),
    }
}

impl FromStr for Port {
    type Err = &'static str;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        value.parse().ok().filter(|port| *port != 0).map(Self).ok_or("expected a port, 1 to 65535")
    }
}

impl FromStr for Weight {
    type Err = &'static str;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        value
            .parse()
            .ok()
            .filter(|weight| (1..=128).contains(weight))
            .map(Self)
            .ok_or("expected a weight, 1 to 128")
    }
}

impl FromStr for MetricsTarget {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let (port, path) =
            value.split_at_checked(value.find('/').unwrap_or(value.len())).unwrap_or((value, ""));
        let port = port
            .parse::<Port>()
            .map_err(|_| "expected PORT/path, such as 9100/metrics".to_owned())?;
        let path = if path.is_empty() { "/metrics" } else { path };
        check_path(path)?;
        Ok(Self { port: port.0, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_registration_without_a_system_is_not_in_the_mesh() {
        assert_eq!(Registration::from_meta(&meta(&[("mesh_protocol", "grpc")])), Ok(None));
        assert_eq!(Registration::from_meta(&meta(&[("mesh_system", "")])), Ok(None));
    }

    #[test]
    fn absent_keys_take_the_contract_s_defaults() {
        let registration = Registration::from_meta(&meta(&[("mesh_system", "trading")])).unwrap();
        assert_eq!(
            registration,
            Some(Registration {
                system: "trading".parse().unwrap(),
                protocol: Protocol::Http,
                role: Role::Service,
                path: None,
                upstreams: None,
                ingress: None,
                stats: None,
                track: Track::Stable,
                instance: None,
                weight: None,
                metrics: None,
            })
        );
    }

    #[test]
    fn every_key_is_listed() {
        let source = include_str!("registration.rs");
        let body =
            source.split("pub fn from_meta").nth(1).and_then(|rest| rest.split("\n}\n").next());
        let named = body.unwrap().split('"').filter(|word| word.starts_with("mesh_"));
        assert_eq!(named.collect::<Vec<_>>(), KEYS);
    }

    #[test]
    fn a_bad_value_names_its_key_and_what_would_be_right() {
        for (key, value, reason) in [
            ("mesh_system", "Trading", "is not a name"),
            ("mesh_protocol", "https", "expected one of http, http2, grpc, tcp"),
            ("mesh_role", "proxy", "expected one of service, gateway, router"),
            ("mesh_path", "orders", "a path begins with /"),
            ("mesh_path", "/a/../b", "a path has no empty, . or .. part"),
            ("mesh_path", "/a?b", "a path cannot hold '?'"),
            ("mesh_upstreams", "a=70000", "is not a port"),
            ("mesh_ingress", "0", "expected a port"),
            ("mesh_track", "blue", "expected one of stable, canary"),
            ("mesh_weight", "129", "expected a weight, 1 to 128"),
            ("mesh_metrics", "/metrics", "expected PORT/path"),
        ] {
            let mut pairs = vec![("mesh_system", "trading")];
            pairs.retain(|(existing, _)| *existing != key);
            pairs.push((key, value));
            let error = Registration::from_meta(&meta(&pairs)).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains(reason), "{error}");
        }
    }
}
