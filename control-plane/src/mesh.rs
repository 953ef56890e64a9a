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
//! ```
//!
//! **Invariants**: pure functions, no clock, no async, no Envoy type; every route and listener carries its [`Origin`];
//! two replicas with equal snapshots build equal values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::api::Problem;
use contract::gateway::Conversion;
use contract::name::{ServiceKey, ServiceName, SystemName};
use contract::node::CertificateFiles;
use contract::registration::{Protocol, Track};
use contract::system::{
    Answer, Cors, HeaderChanges, Maintenance, Redirect, RetryOn, RouteMatch, SystemDocument,
    ValueMatch,
};

use crate::catalog::CatalogSnapshot;

pub mod admission;
pub mod egress;
pub mod explain;
pub mod exposure;
pub mod forged;
pub mod gateway;
pub mod hops;
pub mod listeners;
pub mod listing;
pub mod maintenance;
pub mod model;
mod origin;
pub mod policy;
pub mod proxyless;
pub mod requests;
pub mod router;
pub mod spelling;
pub mod split;
pub mod target;
pub mod words;

pub use admission::{Admission, Checkpoint, Guard};
pub use origin::Origin;
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

/// A listener of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// Where it binds.
    pub address: SocketAddr,
    /// What it does.
    pub kind: ListenerKind,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether spans of its requests go to the host's agent.
    pub is_traced: bool,
}

/// What a listener does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerKind {
    /// Everything goes to the application on this loopback port.
    Inbound {
        /// The service it fronts.
        service: ServiceName,
        /// What the application speaks.
        protocol: Protocol,
    },
    /// HTTP, routed by the table of this name.
    Routed {
        /// The route table's name.
        table: String,
        /// Who connects here.
        faces: Faces,
        /// What carries the requests.
        transport: Transport,
        /// What is checked of what comes from the Router.
        checkpoint: Option<Arc<Checkpoint>>,
    },
    /// Sends clients to the same address over HTTPS, at this port.
    ToHttps(u16),
    /// Bytes to a target.
    Tcp {
        /// Where they go.
        target: Target,
    },
}

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faces {
    /// The application beside the proxy.
    Application,
    /// Other proxies.
    Proxies,
    /// Clients outside.
    Clients {
        /// How many proxies before this one are trusted to name the client.
        trusted_hops: u32,
    },
}

/// What carries the requests of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Plain,
    /// TLS over TCP.
    Tls {
        /// The certificates to choose from.
        certificates: Vec<CertificateFiles>,
        /// The UDP port at which HTTP/3 is spoken, which clients are told of.
        http3: Option<u16>,
    },
    /// QUIC.
    Quic {
        /// The certificates to choose from.
        certificates: Vec<CertificateFiles>,
    },
}

impl Transport {
    /// The UDP port of HTTP/3 that clients are told of.
    pub const fn advertised(&self) -> Option<u16> {
        match self {
            Self::Tls { http3, .. } => *http3,
            Self::Plain | Self::Quic { .. } => None,
        }
    }
}

/// An HTTP route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Its name at the proxy.
    pub name: &'static str,
    /// By host name; the last resort has the domain `*`.
    pub hosts: Vec<VirtualHost>,
    /// Headers that those who call here have no right to.
    pub strips: &'static [&'static str],
    /// What it adds to the list of Systems that a request has been in.
    pub hop: Option<hops::Hop>,
}

/// Routes of some host names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualHost {
    /// Its name, unique in the table.
    pub name: String,
    /// Host names, without port.
    pub domains: Vec<String>,
    /// First match wins.
    pub routes: Vec<RouteRule>,
    /// Whether the caller's System and service are written into headers.
    pub names_caller: Option<Caller>,
}

/// Who calls, as the called side is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// Its System.
    pub system: SystemName,
    /// Its service, or the name of a proxy without one.
    pub service: String,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// Which requests.
    pub requests: Requests,
    /// What its callers must show to the proxy.
    pub admission: Admission,
    /// What happens.
    pub action: Action,
    /// What else happens on the way.
    pub treatment: Treatment,
    /// Where it comes from.
    pub origin: Origin,
}

/// Which requests a rule takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requests {
    /// Which paths.
    pub path: PathMatch,
    /// Which headers as well, the method among them.
    pub headers: Vec<HeaderCondition>,
    /// Which query parameters as well, as they are sent.
    pub query: Vec<(String, ValueMatch)>,
}

/// Which paths a route takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathMatch {
    /// This path only.
    Exact(String),
    /// This path and everything below it. Without a trailing slash: `/orders` takes `/orders/7`, not `/orders2`.
    Prefix(String),
    /// What fits the expression as a whole.
    Regex(String),
    /// What fits the template.
    Template(String),
    /// [`Self::Exact`] in whatever letter case.
    ExactAnyCase(String),
    /// [`Self::Prefix`] in whatever letter case.
    PrefixAnyCase(String),
}

/// A condition on a header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HeaderCondition {
    /// Has one of these values.
    OneOf(&'static str, Vec<String>),
    /// Is absent, or has none of these values.
    NoneOf(&'static str, Vec<String>),
    /// Is as a document says.
    Is(String, ValueMatch),
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It is forwarded.
    Forward(Forward),
    /// It is answered here, with a body that says why.
    Answer {
        /// HTTP status.
        status: u16,
        /// One sentence.
        body: String,
    },
    /// It is answered here, to the letter.
    Page {
        /// HTTP status.
        status: u16,
        /// The body.
        body: String,
        /// Its type.
        content_type: String,
    },
    /// The client is sent elsewhere.
    Redirect {
        /// HTTP status.
        status: u16,
        /// To this host; `None`: to the same.
        host: Option<String>,
        /// To another path.
        path: Option<Rewrite>,
    },
}

/// What becomes of a path; the query stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// What the route's prefix or path matched becomes this.
    Matched(String),
    /// The whole path becomes this.
    Whole(String),
    /// The prefix, a slash after it included, becomes this, which ends with a slash.
    Stem {
        /// Without slash at its end.
        prefix: String,
        /// What it becomes.
        becomes: String,
    },
    /// A template, with the names of the matched one.
    Template(String),
}

/// Where and how a request is forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Targets with their weights.
    pub targets: Vec<(Target, u32)>,
    /// How long an answer may take; `None`: no limit.
    pub timeout: Option<Duration>,
    /// Whether `grpc-timeout` shortens it.
    pub is_grpc: bool,
    /// When to try again; already narrowed to what is safe for the route's methods.
    pub retries: Option<RetryPolicy>,
    /// What becomes of the path.
    pub rewrite: Option<Rewrite>,
    /// What was stripped, told in `x-forwarded-prefix`.
    pub stripped: Option<String>,
    /// Who gets a copy, and of how many in a hundred.
    pub mirror: Option<(Target, u32)>,
    /// What the gateway's application is told to convert it to.
    pub conversion: Option<Conversion>,
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

impl Requests {
    /// Every request with such a path.
    pub fn at(path: PathMatch) -> Self {
        Self { path, headers: Vec::new(), query: Vec::new() }
    }

    /// Every request.
    pub fn all() -> Self {
        Self::at(PathMatch::Prefix("/".to_owned()))
    }

    /// Those of them for which this holds as well.
    pub fn with(mut self, condition: HeaderCondition) -> Self {
        self.headers.push(condition);
        self
    }
}

impl Forward {
    /// To one target, nothing else asked for.
    pub fn to(target: Target) -> Self {
        Self {
            targets: vec![(target, 100)],
            timeout: None,
            is_grpc: false,
            retries: None,
            rewrite: None,
            stripped: None,
            mirror: None,
            conversion: None,
        }
    }
}

impl RouteTable {
    /// Every target that it sends to.
    pub fn targets(&self) -> BTreeSet<Target> {
        self.hosts
            .iter()
            .flat_map(|host| &host.routes)
            .filter_map(|rule| match &rule.action {
                Action::Forward(forward) => Some(forward.targets.iter().chain(&forward.mirror)),
                Action::Answer { .. } | Action::Page { .. } | Action::Redirect { .. } => None,
            })
            .flatten()
            .map(|(target, _)| target.clone())
            .collect()
    }
}
