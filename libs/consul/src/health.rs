//! `/v1/health`: instances with their checks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalog::READ_ALL;
use crate::decode::null_as_default;
use crate::query::Query;

/// An instance with its node and all checks that apply to it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceEntry {
    /// Where it is registered.
    pub node: EntryNode,
    /// The registration.
    pub service: EntryService,
    /// Its own checks and its node's.
    #[serde(default, deserialize_with = "null_as_default")]
    pub checks: Vec<Check>,
}

/// The node of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EntryNode {
    /// Its name.
    pub node: String,
    /// Its address, used where the service has none.
    #[serde(default, deserialize_with = "null_as_default")]
    pub address: String,
}

/// A registration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EntryService {
    /// Unique on its node.
    #[serde(rename = "ID")]
    pub id: String,
    /// The service's name.
    pub service: String,
    /// Empty for an ordinary service; `connect-proxy`, `mesh-gateway` …
    #[serde(default, deserialize_with = "null_as_default")]
    pub kind: String,
    /// Tags as registered.
    #[serde(default, deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
    /// Empty: the node's.
    #[serde(default, deserialize_with = "null_as_default")]
    pub address: String,
    /// 0: none. Consul does not check the range.
    #[serde(default, deserialize_with = "null_as_default")]
    pub port: i64,
    /// Meta as registered.
    #[serde(default, deserialize_with = "null_as_default")]
    pub meta: BTreeMap<String, String>,
    /// Absent: 1 and 1.
    #[serde(default, deserialize_with = "null_as_default")]
    pub weights: Weights,
    /// Rises with each change of the registration, not of its checks.
    #[serde(default, deserialize_with = "null_as_default")]
    pub modify_index: u64,
}

/// Consul's load-balancing weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Weights {
    /// While all checks pass.
    pub passing: i64,
    /// While one warns.
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// A check's state. Its output is deliberately not read: it changes without meaning.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Check {
    /// The node it runs on.
    #[serde(default, deserialize_with = "null_as_default")]
    pub node: String,
    /// Unique on its node; `_node_maintenance` and `_service_maintenance:ID` are Consul's own.
    #[serde(rename = "CheckID", default, deserialize_with = "null_as_default")]
    pub check_id: String,
    /// `passing`, `warning` or `critical`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: String,
    /// The registration it is about; empty for a node's check.
    #[serde(rename = "ServiceID", default, deserialize_with = "null_as_default")]
    pub service_id: String,
    /// The service it is about; empty for a node's check.
    #[serde(default, deserialize_with = "null_as_default")]
    pub service_name: String,
}

/// A state of a check by which Consul lists checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckState {
    /// `warning`
    Warning,
    /// `critical`
    Critical,
}

impl CheckState {
    const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Query<Vec<ServiceEntry>> {
    /// All instances of `name`, whatever their health; none when there is no such service.
    pub fn health_service(name: &str) -> Self {
        let rule = format!(
            "service \"{name}\" {{ policy = \"read\" }} and node_prefix \"\" {{ policy = \"read\" }}"
        );
        Self::new(["health", "service", name], rule)
    }
}

impl Query<Vec<Check>> {
    /// Every check of the datacenter that is in `state`. Wakes when one enters, leaves or changes within it; while
    /// there is none, by any check.
    pub fn checks_in(state: CheckState) -> Self {
        Self::new(["health", "state", state.name()], READ_ALL.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_read_as_empty_everywhere() {
        let entry: ServiceEntry = serde_json::from_str(
            r#"{"Node": {"Node": "n1", "Address": null},
                "Service": {"ID": "web-1", "Service": "web", "Kind": null, "Tags": null, "Address": null,
                            "Port": null, "Meta": null, "Weights": null},
                "Checks": null}"#,
        )
        .unwrap();
        assert_eq!(entry.service.weights, Weights { passing: 1, warning: 1 });
        assert!(entry.checks.is_empty() && entry.service.meta.is_empty());
    }
}
