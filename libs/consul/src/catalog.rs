//! `/v1/catalog`: which services and nodes exist.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::decode::null_as_default;
use crate::query::Query;

const READ_ALL: &str =
    "service_prefix \"\" { policy = \"read\" } and node_prefix \"\" { policy = \"read\" }";

/// A node of `/v1/catalog/nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogNode {
    /// Its name.
    pub node: String,
    /// Its address.
    #[serde(default, deserialize_with = "null_as_default")]
    pub address: String,
}

/// `/v1/catalog/node/NAME`: what is registered on a node; empty when there is no such node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeServices {
    /// Service id → registration.
    #[serde(default, deserialize_with = "null_as_default")]
    pub services: BTreeMap<String, NodeService>,
}

/// One registration, as far as telling whether it changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeService {
    /// The service's name.
    pub service: String,
    /// Rises with each change of the registration.
    #[serde(default, deserialize_with = "null_as_default")]
    pub modify_index: u64,
}

impl Query<BTreeMap<String, Vec<String>>> {
    /// Every service name with the tags of its instances. No health signal; wakes on any registration.
    pub fn services() -> Self {
        Self::new(["catalog", "services"], READ_ALL.to_owned())
    }
}

impl Query<Vec<CatalogNode>> {
    /// Every node.
    pub fn nodes() -> Self {
        Self::new(["catalog", "nodes"], READ_ALL.to_owned())
    }
}

impl Query<NodeServices> {
    /// What is registered on `node`.
    pub fn node_services(node: &str) -> Self {
        Self::new(["catalog", "node", node], READ_ALL.to_owned())
    }
}
