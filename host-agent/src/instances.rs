//! Who is who on this host: the registrations of Consul's agent, as one immutable value that logs, traces and the relay read.
//!
//! In: `GET /v1/agent/self` once, then a blocking query of this node's registrations. Out: a `watch` of [`Instances`], latest wins.
//!
//! **Invariants**: an error, an empty answer after a full one that is not confirmed, or a Consul that is away takes nothing out;
//! a registration whose meta is bad is kept without its [`Registration`] and named; an instance that was deregistered stays
//! findable for a while, because its last lines and spans come after it.
//! **Absent**: other hosts' registrations, health, anything that is written.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use contract::registration::{MetaError, Registration};

/// One registration of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Consul's id of the registration.
    pub id: String,
    /// The service's name.
    pub service: String,
    /// The address that was registered, if it is one.
    pub address: Option<IpAddr>,
    /// The port that was registered; 0 for none.
    pub port: u16,
    /// What its `mesh_*` meta says: `None` outside the mesh, or why it cannot be read.
    pub registration: Result<Option<Registration>, MetaError>,
    /// The allocation: `mesh_instance`, else what Nomad's service id holds.
    pub allocation: Option<String>,
}

/// All registrations of this host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instances {
    /// Consul's name of this host.
    pub node: String,
    /// Its datacenter.
    pub datacenter: String,
    /// By Consul's id of the registration.
    pub by_id: BTreeMap<String, Arc<Instance>>,
    /// By allocation; several services of one allocation in the order of their ids.
    pub by_allocation: BTreeMap<String, Vec<Arc<Instance>>>,
}
