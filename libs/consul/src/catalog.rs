//! `/v1/catalog`: which services and nodes exist.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::decode::null_as_default;
use crate::query::Query;

pub(crate) const READ_ALL: &str =
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
///
/// `R` is how much of each registration is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", bound = "R: Deserialize<'de>")]
pub struct NodeServices<R = NodeService> {
    /// The node itself; absent when there is none of this name, or the token may not see it.
    pub node: Option<CatalogNode>,
    /// Service id → registration.
    #[serde(default, deserialize_with = "null_as_default")]
    pub services: BTreeMap<String, R>,
}

impl<R> Default for NodeServices<R> {
    fn default() -> Self {
        Self { node: None, services: BTreeMap::new() }
    }
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

impl<R> Query<NodeServices<R>> {
    /// What is registered on `node`. Wakes by that node's registrations only; its index is that of the whole catalogue.
    pub fn node_services(node: &str) -> Self {
        Self::new(["catalog", "node", node], READ_ALL.to_owned())
    }
}
