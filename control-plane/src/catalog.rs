//! Stage 2: what is registered and what operators wrote, as one consistent value.
//!
//! In: [`RegistryEvent`](crate::registry::RegistryEvent)s. Out: [`CatalogSnapshot`]s on a `watch`, immutable, latest wins.
//! [`store`] is the only writer; [`gate`] says when the first snapshot may leave; [`run`] owns the clock and the channels.
//!
//! **Invariants**: a bad registration or document is a named [`Problem`], never the end of the batch;
//! the same registrations and documents give an equal snapshot whatever the order of events;
//! parts that did not change keep their `Arc`, so that later stages skip them by pointer.
//! No IO, no clock and no Envoy word in here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use contract::api::Problem;
use contract::name::{ServiceKey, ServiceName, SystemName};
use contract::registration::{Protocol, Role, Track};
use contract::system::SystemDocument;
use contract::upstreams::Upstreams;
use serde::Serialize;

pub mod documents;
pub mod gate;
pub mod health;
pub mod last_good;
pub mod run;
pub mod service;
pub mod store;

/// The world as the registries tell it, after parsing.
#[derive(Debug, Clone, Default)]
pub struct CatalogSnapshot {
    /// Counts up with every snapshot of this process; log lines and metrics carry it through all stages.
    pub generation: u64,
    /// Systems with at least one service or a document.
    pub systems: BTreeMap<SystemName, Arc<SystemCatalog>>,
    /// Registrations without `mesh_system`, by Consul name.
    pub externals: Arc<BTreeMap<ServiceName, Arc<[ExternalInstance]>>>,
    /// What was rejected or is held back.
    pub problems: Arc<Vec<Problem>>,
    /// How the sources stand.
    pub sources: Arc<BTreeMap<&'static str, SourceState>>,
}

/// One System: structure apart from instances, because instances change a thousand times as often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemCatalog {
    /// What its services are.
    pub specs: Arc<BTreeMap<ServiceName, Arc<ServiceSpec>>>,
    /// Who they are, under the same names; sorted by address.
    pub instances: BTreeMap<ServiceName, Arc<[Instance]>>,
    /// The document in force.
    pub document: Option<Arc<SystemDocument>>,
}

/// What all instances of a service agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceSpec {
    /// System and name.
    pub key: ServiceKey,
    /// What it is.
    pub role: Role,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where its System's gateway exposes it.
    pub path: Option<String>,
    /// What it calls; `None`: everything it may.
    pub upstreams: Option<Upstreams>,
    /// Whether canary instances are registered.
    pub has_canary: bool,
    /// Whether an instance names a port for the Router (`mesh_ingress`).
    pub has_ingress: bool,
}

/// One registration in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Instance {
    /// Where its sidecar (or gateway) listens.
    pub address: IpAddr,
    /// The registered port.
    pub port: u16,
    /// The registration's id.
    pub id: String,
    /// A gateway's port for the Router.
    pub ingress: Option<u16>,
    /// Which traffic it takes.
    pub track: Track,
    /// Whether traffic may go to it.
    pub health: Health,
    /// Load-balancing weight, at least 1.
    pub weight: u32,
    /// The allocation that joins it to its proxy.
    pub allocation: Option<String>,
    /// Consul node.
    pub node: String,
}

/// One registration outside the mesh; a host name is left to Envoy's resolver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ExternalInstance {
    /// IP address or host name.
    pub address: String,
    /// Port.
    pub port: u16,
    /// The registration's id.
    pub id: String,
    /// Whether traffic may go to it.
    pub health: Health,
    /// Load-balancing weight, at least 1.
    pub weight: u32,
}

/// Whether traffic may go to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Passing or warning.
    Healthy,
    /// In maintenance, or of no weight: requests under way may end.
    Draining,
    /// Critical; used only where no other instance is healthy.
    Unhealthy,
}

/// How a source stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceState {
    /// What it fails with, and since when (milliseconds of the process's clock); `None`: it answers.
    pub failing: Option<(String, u64)>,
}

impl Health {
    /// The word of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Draining => "draining",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl CatalogSnapshot {
    /// Every mesh service with its instances.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceSpec, &Arc<[Instance]>)> {
        self.systems.values().flat_map(|system| {
            system.specs.iter().filter_map(|(name, spec)| {
                system.instances.get(name).map(|instances| (spec.as_ref(), instances))
            })
        })
    }
}
