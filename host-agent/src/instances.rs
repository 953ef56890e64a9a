//! Who is who on this host: the registrations of Consul's agent, as one immutable value that logs, traces and the relay read.
//!
//! In: `GET /v1/agent/self` once, then a blocking query of this node's registrations, and the ones written into the
//! configuration. Out: a `watch` of [`Instances`], latest wins.
//!
//! **Invariants**: an error, an empty answer after a full one that is not confirmed, or a Consul that is away takes nothing out;
//! a registration whose meta is bad is kept without its [`Registration`] and named; an instance that was deregistered stays
//! findable for a while, marked by [`Instance::gone`], because its last lines and spans come after it. What is present goes
//! before what is gone in every lookup.
//! **Absent**: other hosts' registrations, health, anything that is written. A copy on disk: the agent is on the same host,
//! and what is sent in the seconds before it answers is sent with less said about its origin.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use contract::registration::{MetaError, Registration};
use tokio::time::Instant;

pub mod config;
mod follow;
mod metrics;
mod read;

pub use config::{InstancesConfig, RawInstances};
pub use follow::{FollowError, InstancesFollower};
pub use metrics::InstancesMetrics;

/// One registration of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Consul's id of the registration.
    pub id: String,
    /// The service's name.
    pub service: String,
    /// The address that was registered, else the node's, if it is one.
    pub address: Option<IpAddr>,
    /// The port that was registered; 0 for none.
    pub port: u16,
    /// What its `mesh_*` meta says: `None` outside the mesh, or why it cannot be read.
    pub registration: Result<Option<Registration>, MetaError>,
    /// The allocation: `mesh_instance`, else what Nomad's service id holds.
    pub allocation: Option<String>,
    /// When it was seen to be deregistered; `None` while it is registered.
    pub gone: Option<Instant>,
}

impl Instance {
    /// Its System; `None` outside the mesh, or where its meta cannot be read.
    pub fn system(&self) -> Option<&str> {
        self.mesh().map(|registration| registration.system.as_str())
    }

    /// What its meta says, where it is in the mesh and can be read.
    pub fn mesh(&self) -> Option<&Registration> {
        self.registration.as_ref().ok()?.as_ref()
    }

    /// How people and labels name it: its allocation, else Consul's id.
    pub fn name(&self) -> &str {
        self.allocation.as_deref().unwrap_or(&self.id)
    }

    /// The address that it registered, where it has both parts.
    pub fn socket(&self) -> Option<SocketAddr> {
        let port = Some(self.port).filter(|port| *port != 0)?;
        Some(SocketAddr::new(self.address?, port))
    }
}

/// All registrations of this host at one moment, those deregistered lately included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instances {
    /// Consul's name of this host.
    pub node: String,
    /// Its datacenter.
    pub datacenter: String,
    /// By Consul's id of the registration.
    pub by_id: BTreeMap<String, Arc<Instance>>,
    /// By allocation; several services of one allocation: those present first, then in the order of their ids.
    pub by_allocation: BTreeMap<String, Vec<Arc<Instance>>>,
    /// By the address that was registered.
    pub by_address: BTreeMap<SocketAddr, Arc<Instance>>,
    /// Whether Consul was read, or is not to be.
    pub is_read: bool,
    /// Since when Consul gives no usable answer.
    pub failing_since: Option<Instant>,
}

impl Instances {
    /// What is registered now.
    pub fn present(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.by_id.values().filter(|instance| instance.gone.is_none())
    }

    /// The instance of an allocation; of several, the one in the mesh with the least id.
    pub fn of_allocation(&self, allocation: &str) -> Option<&Arc<Instance>> {
        let all = self.by_allocation.get(allocation)?;
        all.iter().find(|instance| instance.mesh().is_some()).or_else(|| all.first())
    }

    /// By Consul's id of the registration.
    pub fn of_id(&self, id: &str) -> Option<&Arc<Instance>> {
        self.by_id.get(id)
    }

    /// By the address that was registered: the sidecar's, where there is one.
    pub fn at(&self, address: SocketAddr) -> Option<&Arc<Instance>> {
        self.by_address.get(&address)
    }
}
