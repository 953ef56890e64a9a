//! The control plane's read-only JSON API (design 3.5), as both sides see it.
//!
//! | path | answers |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/systems` | `Vec<`[`SystemView`]`>` |
//! | `GET /v1/routes?system=Y` | `Vec<`[`GatewayRoutes`](crate::gateway::GatewayRoutes)`>`; without `system` of all |
//! | `GET /v1/services` | `Vec<`[`ServiceView`]`>` |
//! | `GET /v1/problems` | `Vec<`[`Problem`]`>` |
//! | `GET /v1/proxies` | `Vec<`[`ProxyView`]`>` |
//! | `GET /v1/proxies/{id}/resources` | [`ProxyResources`] |
//! | `GET /v1/proxies/{id}/explain` | [`Explanation`] |
//! | `GET /v1/convergence?service=S&system=Y&present=A,B&absent=C&stable=D&canary=E` | [`Convergence`] |
//!
//! Errors are [`ApiError`] with the fitting HTTP status.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::conversion::Conversion;
use crate::duration::Span;
use crate::name::{ServiceKey, ServiceName, SystemName};
use crate::node::ProxyRole;
use crate::registration::{Protocol, Role, Track};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What went wrong, and what to do next.
    pub error: String,
}

/// One control plane at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Program version.
    pub version: String,
    /// Whether it serves xDS.
    pub ready: bool,
    /// Why not, or what is limited.
    pub reason: Option<String>,
    /// Generation of the catalog in force; counts up within one process.
    pub generation: u64,
    /// Each registry and how fresh it is.
    pub sources: Vec<SourceView>,
    /// Connected proxies.
    pub proxies: usize,
}

/// One registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceView {
    /// `consul`, `file` or `last-good` (read from disk at start).
    pub name: String,
    /// Seconds since it last answered well while it is failing; absent: it answers.
    pub stale_seconds: Option<u64>,
    /// What it fails with.
    pub error: Option<String>,
}

/// Something that was rejected or held back, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// What it concerns, such as `registration _nomad-task-…` or `document trading`.
    pub subject: String,
    /// What is wrong and what is in force instead.
    pub reason: String,
}

/// A System.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemView {
    /// Its name.
    pub name: SystemName,
    /// Its services, gateways included.
    pub services: Vec<ServiceName>,
    /// Whether a gateway is registered.
    pub has_gateway: bool,
    /// Whether a document is in force.
    pub has_document: bool,
    /// Hosts that the Router sends to it.
    pub hosts: Vec<String>,
    /// Systems that may enter; absent: all.
    pub callers: Option<Vec<SystemName>>,
    /// Exposed routes in the order of matching.
    pub routes: Vec<RouteView>,
}

/// An exposed route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// Which requests, in words: `prefix /orders, GET|HEAD, header x-beta is 1`.
    pub matches: String,
    /// Hosts at which the Router's clients reach it; empty: at every host of its System, and below `/SYSTEM/`.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Where they go.
    pub to: Outcome,
    /// What the Router's clients must show; `none` when nothing.
    pub auth: String,
    /// Systems that may call; absent: all.
    #[serde(default)]
    pub callers: Option<Vec<SystemName>>,
    /// REST outside, gRPC inside.
    #[serde(default)]
    pub conversion: Option<Conversion>,
    /// How long an answer may take; absent: no limit.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The document line or registration that it comes from.
    pub origin: String,
}

/// Where a route's requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// To services, with their shares of 100.
    Services(Vec<Share>),
    /// The client is sent elsewhere.
    Redirect {
        /// HTTP status.
        status: u16,
        /// Where, as far as it is written: `https://other.example.com/path`, `/path`.
        location: String,
    },
    /// The gateway answers.
    Answer(u16),
}

/// A service's share of a route's requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which service of the System.
    pub service: ServiceName,
    /// Of 100.
    pub percent: u32,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services(shares) => match shares.as_slice() {
                [Share { service, .. }] => write!(f, "{service}"),
                shares => {
                    let mut separator = "";
                    shares.iter().try_for_each(|Share { service, percent }| {
                        write!(f, "{separator}{percent}% {service}")?;
                        separator = ", ";
                        Ok(())
                    })
                }
            },
            Self::Redirect { status, location } => write!(f, "redirect {status} {location}"),
            Self::Answer(status) => write!(f, "answer {status}"),
        }
    }
}

/// A service and its instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// System and name.
    #[serde(flatten)]
    pub key: ServiceKey,
    /// What it is.
    pub role: Role,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where the gateway exposes it.
    pub path: Option<String>,
    /// What it says it calls.
    pub upstreams: Option<String>,
    /// Its instances, in a fixed order.
    pub instances: Vec<InstanceView>,
}

/// One registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Consul's service id.
    pub id: String,
    /// `ip:port`.
    pub address: String,
    /// `healthy`, `unhealthy` or `draining`.
    pub health: String,
    /// Load-balancing weight.
    pub weight: u32,
    /// Which traffic it takes.
    pub track: Track,
    /// The allocation.
    pub instance: Option<String>,
    /// Consul node.
    pub node: String,
}

/// A connected proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyView {
    /// `node.id`.
    pub id: String,
    /// `node.cluster`.
    pub cluster: String,
    /// Its System.
    pub system: Option<SystemName>,
    /// What it does.
    pub role: ProxyRole,
    /// Services that it fronts.
    pub services: Vec<ServiceName>,
    /// Envoy's version, or the client's own name for itself.
    pub agent: String,
    /// Peer address.
    pub peer: String,
    /// `delta` or `sotw`.
    pub mode: String,
    /// Seconds since the stream began.
    pub connected_seconds: u64,
    /// One row for each type it asked for.
    pub types: Vec<TypeView>,
}

/// How one resource type stands at a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeView {
    /// `cluster`, `endpoints`, `listener`, `routes`, `secret`.
    pub name: String,
    /// Resources that the proxy has ACKed at the version in force.
    pub acked: usize,
    /// Resources sent and not yet answered, or still to be sent.
    pub pending: usize,
    /// Resources held back because the proxy refused them.
    pub nacked: Vec<NackView>,
    /// Hash over names and ACKed versions: equal on replicas and proxies of one kind.
    pub version: String,
}

/// A refused resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NackView {
    /// Resource name.
    pub resource: String,
    /// The version refused.
    pub version: String,
    /// The proxy's own message.
    pub message: String,
}

/// Everything that one proxy is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyResources {
    /// `node.id`.
    pub id: String,
    /// In order of type, then name.
    pub resources: Vec<ResourceView>,
}

/// One resource at one proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceView {
    /// `cluster`, `endpoints`, `listener`, `routes`, `secret`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Resource name.
    pub name: String,
    /// Version in force: the hash of its bytes.
    pub version: String,
    /// Size of its encoding.
    pub bytes: usize,
    /// `acked`, `pending`, `nacked` or `unasked`.
    pub state: String,
}

/// What a proxy gets, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// `node.id`.
    pub id: String,
    /// What it does.
    pub role: ProxyRole,
    /// Its System.
    pub system: Option<SystemName>,
    /// In the order a request meets them: listeners, routes, clusters, endpoints.
    pub items: Vec<ExplainedItem>,
    /// What was left out, and why.
    pub problems: Vec<Problem>,
}

/// One thing that a proxy gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedItem {
    /// `listener`, `route`, `cluster` or `endpoint`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it does, in a few words.
    pub what: String,
    /// The registration, document line or default that it comes from.
    pub because: String,
}

/// Whether every connected proxy of this replica knows about the given allocations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Convergence {
    /// Whether all do.
    pub converged: bool,
    /// Catalog generation the answer speaks of.
    pub generation: u64,
    /// Connected proxies that depend on the service.
    pub dependents: usize,
    /// Those that do not know yet, with what they lack.
    pub waiting: Vec<WaitingProxy>,
    /// What of `present`, `absent`, `stable` and `canary` the registrations do not say, in words.
    pub catalog_lacks: Vec<String>,
    /// Registered sidecars, gateways and routers that are not connected here.
    pub unconnected: Vec<String>,
}

/// A proxy that has not caught up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingProxy {
    /// `node.id`.
    pub id: String,
    /// Resources not yet ACKed.
    pub resources: Vec<String>,
}
