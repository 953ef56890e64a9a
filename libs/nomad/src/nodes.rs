//! `/v1/nodes`, `/v1/node`: hosts, and taking them out of service.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::NomadClient;
use crate::decode::null_as_default;
use crate::error::NomadError;
use crate::query::Query;

/// A host of Nomad's.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its datacenter.
    pub datacenter: String,
    /// `initializing`, `ready`, `down` or `disconnected`.
    pub status: String,
    /// `eligible` or `ineligible`.
    pub scheduling_eligibility: String,
    /// Whether it drains.
    pub drain: bool,
    /// The client's version.
    #[serde(deserialize_with = "null_as_default")]
    pub version: String,
}

/// How a node is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Allocations move away; what is left after this time is stopped.
    Begin(Duration),
    /// It takes allocations again.
    End,
}

impl Query<Vec<Node>> {
    /// Every node.
    pub fn nodes() -> Self {
        Self::new(["nodes"], "node:read")
    }
}

impl Query<Node> {
    /// A node.
    pub fn node(id: &str) -> Self {
        Self::new(["node", id], "node:read")
    }
}

impl NomadClient {
    /// Begins or ends a drain.
    ///
    /// # Errors
    /// [`NomadError::NotFound`] for an unknown node.
    pub async fn drain(&self, node: &str, how: Drain) -> Result<(), NomadError> {
        let body = match how {
            Drain::Begin(deadline) => {
                let nanoseconds = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
                json!({"DrainSpec": {"Deadline": nanoseconds, "IgnoreSystemJobs": false}})
            }
            Drain::End => json!({"DrainSpec": null, "MarkEligible": true}),
        };
        let path = ["node", node, "drain"];
        self.submit(Method::POST, path, &[], &body, "node:write").await.map(drop)
    }
}
