//! Stage 3: the mesh in its own words: which System exposes what to whom, and what one proxy must know.
//!
//! In: [`CatalogSnapshot`]s. Out: a [`MeshModel`] that all proxies share, and per proxy the listeners, route tables and
//! targets that follow from it.
//!
//! ```text
//! model      catalog → MeshModel: services with their policies, exposed routes, the directory of gateways
//! egress     what a sidecar may call        gateway   what a gateway admits and where it goes
//! router     what the Router admits         inbound   what reaches the application
//! exposure   what a System's gateway exposes admission who is let in
//! requests   matches of documents           spelling  what other spellings of a path get
//! split      tracks, retries by method      explain   the same, for people, with origins
//! listing    what a System exposes, for people and for the application behind the gateway
//! hops       requests in a circle       maintenance what the Router says for a closed System
//! proxyless  an egress table for no proxy  words     requests and rules, for people
//! target     clusters and their endpoints  tracks    who takes a track's requests
//! listener, table: what all of these build, for the next stage to encode
//! ```
//!
//! **Invariants**: pure functions, no clock, no async, no Envoy type; every route and listener carries its [`Origin`];
//! two replicas with equal snapshots build equal values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use contract::api::Problem;
use contract::conversion::Conversion;
use contract::name::{ServiceKey, ServiceName, SystemName};
use contract::registration::{Protocol, Track};
use contract::system::{
    Answer, Cors, HeaderChanges, Maintenance, Redirect, RetryOn, RouteMatch, SystemDocument,
};

use crate::catalog::CatalogSnapshot;

pub mod admission;
pub mod egress;
pub mod explain;
pub mod exposure;
pub mod forged;
pub mod gateway;
pub mod hops;
pub mod listener;
pub mod listeners;
pub mod listing;
pub mod maintenance;
pub mod model;
pub mod policy;
pub mod proxyless;
pub mod requests;
pub mod router;
pub mod spelling;
pub mod split;
pub mod table;
pub mod target;
pub mod tracks;
pub mod words;

pub use admission::{Admission, Checkpoint, Guard};
pub use listener::{Faces, ListenerKind, ListenerView, Transport};
pub use table::{
    Action, Caller, Forward, HeaderCondition, PathMatch, Requests, Rewrite, RouteRule, RouteTable,
    VirtualHost,
};
pub use target::{ClusterSpec, Discovery, Endpoint, Target, TlsName};

/// The mesh as one catalog snapshot has it.
#[derive(Debug, Clone, Default)]
pub struct MeshModel {
    /// The catalog's generation.
    pub generation: u64,
    /// Structure of every System; the same `Arc` while nothing but instances changed.
    pub systems: BTreeMap<SystemName, Arc<SystemModel>>,
    /// What Systems know of each other; the same `Arc` while it is equal.
    pub directory: Arc<Directory>,
    /// Services that each System's gateway exposes by name; the same `Arc` while it is equal.
    pub exposed: Arc<BTreeMap<SystemName, BTreeSet<ServiceName>>>,
    /// The instances.
    pub catalog: Arc<CatalogSnapshot>,
}

/// One System's structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemModel {
    /// Its name.
    pub name: SystemName,
    /// Its services: what can be called. Gateways and routers are not in here.
    pub services: BTreeMap<ServiceName, ServiceModel>,
    /// External Consul services that its document allows, with how they are found.
    pub externals: BTreeMap<ServiceName, ExternalModel>,
    /// What its gateway exposes, in the order of matching.
    pub routes: Vec<ExposedRoute>,
    /// Whether a gateway is registered.
    pub has_gateway: bool,
    /// Whether a gateway names a port for the Router.
    pub has_ingress: bool,
    /// Its document.
    pub document: Option<Arc<SystemDocument>>,
    /// What operators should know about.
    pub problems: Vec<Problem>,
}

/// One callable service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceModel {
    /// System and name.
    pub key: ServiceKey,
    /// What it speaks.
    pub protocol: Protocol,
    /// How it is called.
    pub policy: CallPolicy,
    /// Who gets its canary instances; `None`: it has none.
    pub canary: Option<CanaryRule>,
    /// What it says it calls.
    pub upstreams: Option<contract::upstreams::Upstreams>,
    /// Where this comes from.
    pub origin: Origin,
}

/// How an external service is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalModel {
    /// Every registration has an IP address.
    Addresses,
    /// Some registration has a host name.
    HostNames,
    /// Nothing is registered under the name.
    Missing,
}

/// Who gets canary instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryRule {
    /// Share of ordinary requests, 0 to 100.
    pub percent: u32,
    /// Requests with this header get a canary.
    pub header: HeaderCondition,
}

/// How a service is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPolicy {
    /// How long an answer may take; `None`: no limit.
    pub timeout: Option<Duration>,
    /// How long a connection may take to open.
    pub connect_timeout: Duration,
    /// When to try again.
    pub retries: RetryPolicy,
    /// Circuit breakers.
    pub limits: CallLimits,
    /// Failures in a row that eject an instance, and for how long at first; `None`: never.
    pub outlier: Option<(u32, Duration)>,
}

/// When a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// After which failures.
    pub on: Vec<RetryOn>,
    /// How often at the most, the first try not counted.
    pub attempts: u32,
}

/// Circuit-breaker limits of one calling proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// Open connections.
    pub connections: u32,
    /// Requests waiting for a connection.
    pub pending_requests: u32,
    /// Requests under way.
    pub requests: u32,
}

/// A route that a System exposes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedRoute {
    /// Which requests.
    pub matches: RouteMatch,
    /// Where they go.
    pub to: RouteTo,
    /// In place of the service's own.
    pub timeout: Option<Option<Duration>>,
    /// In place of the service's own.
    pub retries: Option<RetryPolicy>,
    /// What the Router's callers must show.
    pub admission: Admission,
    /// REST ↔ gRPC conversion by the gateway's application.
    pub conversion: Option<Conversion>,
    /// What else happens on the way.
    pub treatment: Treatment,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a route's requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteTo {
    /// To services of the System.
    Services(Forwarding),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The gateway answers.
    Answer(Answer),
}

/// How requests are forwarded to services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// Services with their shares, which sum to 100; registered or not.
    pub shares: Vec<(ServiceName, u32)>,
    /// What the matched path becomes.
    pub rewrite: Option<String>,
    /// Who gets a copy, and of how many in a hundred.
    pub mirror: Option<(ServiceName, u32)>,
}

/// What a route does to requests and answers besides sending them on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Treatment {
    /// Headers that are changed.
    pub headers: HeaderChanges,
    /// Which pages of other origins may call.
    pub cors: Option<Cors>,
    /// Whether answers are compressed.
    pub compress: bool,
    /// Of requests that belong to no trace yet, so many in a hundred begin one; `None`: none does.
    pub traced: Option<u32>,
}

/// What Systems know of each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// By System.
    pub entrances: BTreeMap<SystemName, Entrance>,
    /// Hosts of the Router, each with the one System that gets it.
    pub hosts: BTreeMap<String, SystemName>,
    /// Hosts that two Systems claim.
    pub problems: Vec<Problem>,
}

/// How one System is entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// Whether a gateway is registered.
    pub has_gateway: bool,
    /// Whether a gateway names a port for the Router.
    pub has_ingress: bool,
    /// Whether it has a document, without which the Router lets nothing in.
    pub has_document: bool,
    /// What the Router answers in its place.
    pub maintenance: Option<Arc<Maintenance>>,
    /// Of clients' requests that belong to no trace yet, so many in a hundred begin one.
    pub traced: u32,
}

/// Where something comes from: a registration, a line of a document, or a default.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A meta key of the registrations of a service.
    Registration(ServiceKey, &'static str),
    /// A key path of a System's document.
    Document(SystemName, String),
    /// The proxy's own bootstrap.
    Bootstrap(&'static str),
    /// What holds when nobody says anything.
    Default(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registration(key, meta) => write!(f, "registration of {key}, meta {meta}"),
            Self::Document(system, path) => write!(f, "document {system}, {path}"),
            Self::Bootstrap(key) => write!(f, "bootstrap, node.metadata.mesh.{key}"),
            Self::Default(rule) => write!(f, "default: {rule}"),
        }
    }
}

impl ServiceModel {
    /// Cluster target of one track.
    pub fn target(&self, track: Track) -> Target {
        Target::Service(self.key.clone(), track)
    }
}

impl ExposedRoute {
    /// The services that answer, registered or not.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        let shares: &[(ServiceName, u32)] = match &self.to {
            RouteTo::Services(forwarding) => &forwarding.shares,
            RouteTo::Redirect(_) | RouteTo::Answer(_) => &[],
        };
        shares.iter().map(|(service, _)| service)
    }

    /// Whether other Systems may use it: they call by names of the mesh, never by a host of the Router.
    pub fn is_for_systems(&self) -> bool {
        self.matches.hosts.is_empty()
    }
}

/// Header that names the calling System; set by sidecars.
pub const CALLER_SYSTEM: &str = "x-mesh-caller-system";
/// Header that names the calling service.
pub const CALLER_SERVICE: &str = "x-mesh-caller-service";
/// Header that asks for a track when the document names none.
pub const TRACK_HEADER: &str = "x-mesh-track";
/// Header in which the Router says what it took off a path.
pub const FORWARDED_PREFIX: &str = "x-forwarded-prefix";
/// The domain under which every System and service has a name.
pub const MESH_DOMAIN: &str = "mesh";
