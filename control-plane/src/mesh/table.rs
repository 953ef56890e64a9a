//! A route table of a proxy in the mesh's words: hosts, the requests of each route, and what happens to them.
//!
//! Built by `egress.rs`, `gateway.rs` and `router.rs`, encoded by the xDS stage.

use std::collections::BTreeSet;
use std::time::Duration;

use contract::conversion::Conversion;
use contract::name::SystemName;
use contract::system::ValueMatch;

use crate::mesh::hops::Hop;
use crate::mesh::{Admission, Origin, RetryPolicy, Target, Treatment};

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
    pub hop: Option<Hop>,
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
