//! One simulated Envoy: what it asks for, holds and acknowledges.
//!
//! In: responses' bytes. Out: requests' bytes, and a [`Digest`] of what a response brought. Called by `fleet`.
//!
//! It behaves as Envoy does: CDS without names, EDS for the clusters that it got, then LDS without names, RDS for the
//! listeners that it got; every response is acknowledged, that of CDS only once its clusters are warm (after the
//! first configuration); a reconnect tells what is held.
//!
//! **Invariants**: no IO, no clock; contents are forgotten, names and versions stay.
//! Deliberately absent: NACKs, SDS, unsubscribing on demand.

mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::wire::{Malformed, Value, field, walk};
use message::Response;

/// The variant of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Differences.
    Delta,
    /// State of the world.
    Sotw,
}

impl Mode {
    /// The gRPC method.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Delta => {
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
            }
            Self::Sotw => {
                "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
            }
        }
    }
}

/// The types that a sidecar asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// CDS
    Clusters,
    /// EDS
    Endpoints,
    /// LDS
    Listeners,
    /// RDS
    Routes,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Clusters, Self::Endpoints, Self::Listeners, Self::Routes];

    const fn url(self) -> &'static str {
        match self {
            Self::Clusters => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listeners => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Routes => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    const fn has_wildcard(self) -> bool {
        matches!(self, Self::Clusters | Self::Listeners)
    }
}

/// What a response brought, for the measurements.
#[derive(Debug)]
pub struct Digest<'a> {
    /// Its type.
    pub kind: Kind,
    /// Name and bytes of each resource.
    pub resources: Vec<(&'a str, &'a [u8])>,
}

#[derive(Debug, Default)]
struct TypeState {
    /// Name → version (delta) or nothing (state of the world).
    held: BTreeMap<String, String>,
    asked: BTreeSet<String>,
    is_asked: bool,
    /// State of the world: of the last response.
    version: String,
    nonce: String,
}

/// See the module.
#[derive(Debug)]
pub struct Proxy {
    mode: Mode,
    node: Arc<[u8]>,
    has_sent_node: bool,
    types: [TypeState; 4],
    /// Clusters that were sent anew and wait for their endpoints.
    warming: BTreeSet<String>,
    /// The nonce of CDS to acknowledge once nothing is warming.
    withheld: Option<String>,
    is_configured: bool,
}

impl Proxy {
    /// A proxy that holds nothing.
    pub fn new(mode: Mode, node: Arc<[u8]>) -> Self {
        Self {
            mode,
            node,
            has_sent_node: false,
            types: Default::default(),
            warming: BTreeSet::new(),
            withheld: None,
            is_configured: false,
        }
    }

    /// Whether it once had everything that it needs to serve.
    pub const fn is_configured(&self) -> bool {
        self.is_configured
    }

    /// The requests that begin a stream.
    pub fn begin(&mut self) -> Vec<Vec<u8>> {
        self.has_sent_node = false;
        self.warming.clear();
        self.withheld = None;
        let known: Vec<Kind> = if self.is_configured {
            Kind::ALL.to_vec()
        } else {
            self.types = Default::default();
            vec![Kind::Clusters]
        };
        known.into_iter().map(|kind| self.first_request(kind)).collect()
    }

    /// Takes in a response; the requests that it causes are added to `requests`.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn take<'a>(
        &mut self,
        response: &'a [u8],
        requests: &mut Vec<Vec<u8>>,
    ) -> Result<Option<Digest<'a>>, Malformed> {
        let Some(read) = Response::read(self.mode, response)? else { return Ok(None) };
        let state = self.state(read.kind);
        state.nonce = read.nonce.to_owned();
        state.version = read.version.to_owned();
        if read.kind.has_wildcard() && self.mode == Mode::Sotw {
            self.state(read.kind).held.clear();
        }
        for (name, version, _) in &read.resources {
            self.state(read.kind).held.insert((*name).to_owned(), (*version).to_owned());
        }
        for name in &read.removed {
            self.state(read.kind).held.remove(*name);
        }
        match read.kind {
            Kind::Clusters => self.take_clusters(&read, requests)?,
            Kind::Endpoints => self.take_endpoints(&read, requests),
            Kind::Listeners => self.take_listeners(&read, requests)?,
            Kind::Routes => requests.push(self.ack(Kind::Routes, read.nonce)),
        }
        let [clusters, endpoints, listeners, routes] = &self.types;
        self.is_configured |= self.warming.is_empty()
            && !clusters.held.is_empty()
            && !listeners.held.is_empty()
            && endpoints.asked.iter().all(|name| endpoints.held.contains_key(name))
            && routes.is_asked
            && routes.asked.iter().all(|name| routes.held.contains_key(name));
        let resources = read.resources.iter().map(|(name, _, body)| (*name, *body)).collect();
        Ok(Some(Digest { kind: read.kind, resources }))
    }

    fn take_clusters(
        &mut self,
        read: &Response<'_>,
        requests: &mut Vec<Vec<u8>>,
    ) -> Result<(), Malformed> {
        let mut wanted = BTreeSet::new();
        for (name, _, body) in &read.resources {
            // `type` is EDS.
            if field(body, 2)? == Value::Number(3) {
                wanted.insert((*name).to_owned());
            }
        }
        if self.is_configured {
            self.warming.extend(wanted.iter().cloned());
        }
        for name in &read.removed {
            self.warming.remove(*name);
        }
        if self.warming.is_empty() {
            requests.push(self.ack(Kind::Clusters, read.nonce));
        } else {
            self.withheld = Some(read.nonce.to_owned());
        }
        let gone = match self.mode {
            Mode::Delta => read.removed.iter().map(|name| (*name).to_owned()).collect(),
            Mode::Sotw => self.endpoints().asked.difference(&wanted).cloned().collect(),
        };
        requests.extend(self.ask(Kind::Endpoints, wanted, &gone));
        if self.endpoints().asked.is_empty() && !self.listeners().is_asked {
            requests.push(self.first_request(Kind::Listeners));
        }
        Ok(())
    }

    fn take_endpoints(&mut self, read: &Response<'_>, requests: &mut Vec<Vec<u8>>) {
        requests.push(self.ack(Kind::Endpoints, read.nonce));
        for name in read.resources.iter().map(|(name, ..)| name).chain(&read.removed) {
            self.warming.remove(*name);
        }
        // A name that the server says does not exist is as good as empty.
        for name in &read.removed {
            self.endpoints_mut().asked.remove(*name);
        }
        if self.warming.is_empty()
            && let Some(nonce) = self.withheld.take()
        {
            requests.push(self.ack(Kind::Clusters, &nonce));
        }
        let endpoints = self.endpoints();
        let is_complete = endpoints.asked.iter().all(|name| endpoints.held.contains_key(name));
        if is_complete && !self.listeners().is_asked {
            requests.push(self.first_request(Kind::Listeners));
        }
    }

    fn take_listeners(
        &mut self,
        read: &Response<'_>,
        requests: &mut Vec<Vec<u8>>,
    ) -> Result<(), Malformed> {
        requests.push(self.ack(Kind::Listeners, read.nonce));
        let mut wanted = BTreeSet::new();
        for (_, _, body) in &read.resources {
            // filter_chains.filters.typed_config.value.rds.route_config_name
            walk(body, &[3, 3, 4, 2, 3, 2], &mut |name| {
                wanted.insert(String::from_utf8_lossy(name).into_owned());
            })?;
        }
        requests.extend(self.ask(Kind::Routes, wanted, &BTreeSet::new()));
        Ok(())
    }

    /// Subscribes to further names, and drops some.
    fn ask(
        &mut self,
        kind: Kind,
        wanted: BTreeSet<String>,
        gone: &BTreeSet<String>,
    ) -> Option<Vec<u8>> {
        let state = self.state(kind);
        let added: Vec<String> = wanted.difference(&state.asked).cloned().collect();
        let dropped: Vec<String> = state.asked.intersection(gone).cloned().collect();
        if added.is_empty() && dropped.is_empty() {
            return None;
        }
        for name in &dropped {
            state.asked.remove(name);
            state.held.remove(name);
        }
        state.asked.extend(added.iter().cloned());
        state.is_asked = true;
        Some(match self.mode {
            Mode::Delta => self.delta_request(kind, &added, &dropped, false, ""),
            Mode::Sotw => self.sotw_request(kind),
        })
    }

    fn state(&mut self, kind: Kind) -> &mut TypeState {
        let [clusters, endpoints, listeners, routes] = &mut self.types;
        match kind {
            Kind::Clusters => clusters,
            Kind::Endpoints => endpoints,
            Kind::Listeners => listeners,
            Kind::Routes => routes,
        }
    }

    const fn endpoints(&self) -> &TypeState {
        &self.types[1]
    }

    const fn endpoints_mut(&mut self) -> &mut TypeState {
        &mut self.types[1]
    }

    const fn listeners(&self) -> &TypeState {
        &self.types[2]
    }
}
