//! Stage 1: where registrations and System documents come from.
//!
//! In: Consul's HTTP API, or Nomad's, or a directory of YAML files. Out: [`RegistryEvent`]s on a bounded channel.
//! A registry owns its connections, indexes, retries and the confirmation of shrinking answers;
//! what it sends is what the catalog may believe.
//!
//! **Invariants**: an error never becomes an event that removes something; events are complete values
//! (a service with all its instances, all documents), so that repeating one is harmless.
//! No routing decision is taken here, and no `mesh_*` key is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub mod consul;
mod failures;
pub mod file;
mod guard;
mod hold;
pub mod nomad;
mod outlet;

/// What a registry tells the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryEvent {
    /// Every registered name. The catalog is complete when each was observed once, or has left the listing.
    Listing(BTreeSet<Arc<str>>),
    /// All registrations of one name; empty when there is none.
    Service {
        /// Consul's service name, as registered.
        name: Arc<str>,
        /// Its registrations, in any order.
        instances: Vec<RegisteredInstance>,
    },
    /// Every System document: name (last part of the KV key or of the variable's path, or file stem) → text.
    Documents(BTreeMap<String, String>),
    /// An answer that would shrink the mesh is held back, or (`reason: None`) no longer.
    Held {
        /// What is held, such as `service orders` or `catalogue`.
        subject: String,
        /// Why; `None` releases it.
        reason: Option<String>,
    },
    /// Whether a source answers.
    Source {
        /// `consul`, `consul-kv`, `nomad`, `nomad-variables`, `file`.
        name: &'static str,
        /// What it fails with; `None`: it answers.
        error: Option<String>,
    },
}

/// One registration as the registry has it; meta is not parsed yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredInstance {
    /// For Consul the service id. Unique on its node; with the node, unique in the datacenter.
    pub id: String,
    /// The node (host) it is registered on.
    pub node: String,
    /// Service address, or else the node's; an IP or a host name.
    pub address: String,
    /// Port; 0 when the registration has none.
    pub port: u16,
    /// Tags, sorted.
    pub tags: Vec<String>,
    /// Meta.
    pub meta: BTreeMap<String, String>,
    /// Worst of its checks; an instance without checks counts as passing.
    pub status: CheckStatus,
    /// Consul `Weights.Passing`.
    pub weight_passing: u32,
    /// Consul `Weights.Warning`.
    pub weight_warning: u32,
}

/// Worst state of an instance's checks, the node's included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// All pass, or there are none.
    #[default]
    Passing,
    /// Some warn.
    Warning,
    /// `_node_maintenance` or `_service_maintenance:…` is set.
    Maintenance,
    /// Some are critical.
    Critical,
}

/// A source of registrations or documents.
pub trait Registry: Send + 'static {
    /// Sends events until `shutdown`; returns early only when it can never work (bad configuration).
    ///
    /// Transient failures are retried inside and reported as [`RegistryEvent::Source`].
    fn run(
        self,
        events: mpsc::Sender<RegistryEvent>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;
}

/// A registry that can never work as configured.
#[derive(Debug, thiserror::Error)]
#[error("registry {registry} cannot {step}")]
pub struct RegistryError {
    /// Which registry.
    pub registry: &'static str,
    /// What it was doing, and what to change.
    pub step: String,
    /// What it failed with.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}
