//! Nomad's own registrations of services (`provider = "nomad"`).

use serde::{Deserialize, Serialize};

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ServiceRegistration {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) service_name: String,
    pub(crate) namespace: String,
    #[serde(rename = "NodeID")]
    pub(crate) node_id: String,
    pub(crate) datacenter: String,
    #[serde(rename = "JobID")]
    pub(crate) job_id: String,
    #[serde(rename = "AllocID")]
    pub(crate) alloc_id: String,
    pub(crate) tags: Vec<String>,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
}
