//! `/v1/services`, `/v1/service`: Nomad's own registry, for jobs whose services say `provider = "nomad"`.
//!
//! It has no meta, no weights and no health: an instance whose check fails stays listed. Health is the allocation's
//! ([`Query::checks_of`](crate::Query)). Tags come in any order, another one each time.

use serde::Deserialize;

use crate::decode::null_as_default;
use crate::query::Query;

const READ: &str = "read-job";

/// The services of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceListing {
    /// The namespace.
    pub namespace: String,
    /// Its services.
    #[serde(deserialize_with = "null_as_default")]
    pub services: Vec<ServiceStub>,
}

/// A service's name, with all tags of all instances.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceStub {
    /// Its name.
    pub service_name: String,
    /// Tags.
    #[serde(deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
}

/// A registered instance.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceInstance {
    /// The registration's id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service.
    pub service_name: String,
    /// Its namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Its datacenter.
    #[serde(deserialize_with = "null_as_default")]
    pub datacenter: String,
    /// The node.
    #[serde(rename = "NodeID", deserialize_with = "null_as_default")]
    pub node: String,
    /// The job.
    #[serde(rename = "JobID", deserialize_with = "null_as_default")]
    pub job: String,
    /// The allocation.
    #[serde(rename = "AllocID", deserialize_with = "null_as_default")]
    pub allocation: String,
    /// Where it is.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Tags.
    #[serde(deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
    /// When it last changed.
    pub modify_index: u64,
}

impl Query<Vec<ServiceListing>> {
    /// Every service, by namespace.
    pub fn services() -> Self {
        Self::new(["services"], READ)
    }
}

impl Query<Vec<ServiceInstance>> {
    /// A service's instances; none for an unknown name.
    pub fn service(name: &str) -> Self {
        Self::new(["service", name], READ)
    }
}
