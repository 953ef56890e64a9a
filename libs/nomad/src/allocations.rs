//! `/v1/allocations` and `/v1/client/allocation`: what runs, how it is, and what happened to it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::decode::null_as_default;
use crate::query::Query;

const READ: &str = "read-job";

/// An instance of a task group on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Allocation {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// `JOB.GROUP[INDEX]`.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Its namespace.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// The job.
    #[serde(rename = "JobID")]
    pub job: String,
    /// The job's version that it runs.
    pub job_version: u64,
    /// Its group.
    pub task_group: String,
    /// The node's id.
    #[serde(rename = "NodeID", deserialize_with = "null_as_default")]
    pub node: String,
    /// The node's name.
    #[serde(deserialize_with = "null_as_default")]
    pub node_name: String,
    /// What the servers want: `run`, `stop` or `evict`.
    pub desired_status: String,
    /// How it is: `pending`, `running`, `complete`, `failed`, `lost` or `unknown`.
    pub client_status: String,
    /// In words.
    #[serde(deserialize_with = "null_as_default")]
    pub client_description: String,
    /// The deployment that placed it; empty: none.
    #[serde(rename = "DeploymentID", deserialize_with = "null_as_default")]
    pub deployment: String,
    /// What the deployment thinks of it.
    #[serde(deserialize_with = "null_as_default")]
    pub deployment_status: AllocationHealth,
    /// By task.
    #[serde(deserialize_with = "null_as_default")]
    pub task_states: BTreeMap<String, TaskState>,
    /// What replaces it after a failure; empty: nothing yet.
    #[serde(rename = "NextAllocation", deserialize_with = "null_as_default")]
    pub next: String,
    /// When it was placed, in nanoseconds since 1970.
    pub create_time: u64,
    /// When it was placed.
    pub create_index: u64,
    /// When it last changed.
    pub modify_index: u64,
}

impl Allocation {
    /// Whether nothing of it runs any more.
    pub fn is_over(&self) -> bool {
        matches!(self.client_status.as_str(), "complete" | "failed" | "lost")
    }
}

/// A deployment's view of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AllocationHealth {
    /// `None` while it is not decided.
    pub healthy: Option<bool>,
    /// Whether it is a canary that was not promoted yet.
    pub canary: bool,
}

/// How a task is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskState {
    /// `pending`, `running` or `dead`.
    pub state: String,
    /// Whether it ended badly.
    pub failed: bool,
    /// How often it was started again.
    pub restarts: u64,
    /// The last ten or so, oldest first.
    #[serde(deserialize_with = "null_as_default")]
    pub events: Vec<TaskEvent>,
}

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskEvent {
    /// Such as `Started`, `Terminated`, `Driver Failure`, `Failed Artifact Download`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// For people.
    #[serde(deserialize_with = "null_as_default")]
    pub display_message: String,
    /// Such as `exit_code`, a number in text.
    #[serde(deserialize_with = "null_as_default")]
    pub details: BTreeMap<String, String>,
}

/// The last outcome of a check that Nomad itself makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckResult {
    /// The check's id.
    #[serde(rename = "ID", deserialize_with = "null_as_default")]
    pub id: String,
    /// Its name.
    #[serde(rename = "Check", deserialize_with = "null_as_default")]
    pub name: String,
    /// The service that it is about.
    #[serde(deserialize_with = "null_as_default")]
    pub service: String,
    /// `healthiness` or `readiness`.
    #[serde(deserialize_with = "null_as_default")]
    pub mode: String,
    /// `success`, `failure` or `pending`.
    #[serde(deserialize_with = "null_as_default")]
    pub status: String,
    /// What it said.
    #[serde(deserialize_with = "null_as_default")]
    pub output: String,
}

impl Query<Vec<Allocation>> {
    /// A job's allocations, those of earlier registrations of the same name left out.
    pub fn allocations_of(job: &str) -> Self {
        Self::new(["job", job, "allocations"], READ)
    }

    /// A deployment's allocations.
    pub fn allocations_of_deployment(id: &str) -> Self {
        Self::new(["deployment", "allocations", id], READ)
    }

    /// A node's allocations.
    pub fn allocations_of_node(id: &str) -> Self {
        Self::new(["node", id, "allocations"], "node:read and read-job")
    }

    /// Every allocation of the namespace, with the states of its tasks.
    pub fn allocations() -> Self {
        Self::new(["allocations"], READ).with("task_states", "true")
    }
}

impl Query<Allocation> {
    /// An allocation.
    pub fn allocation(id: &str) -> Self {
        Self::new(["allocation", id], READ)
    }
}

impl Query<BTreeMap<String, CheckResult>> {
    /// The checks that Nomad's client makes for an allocation. It does not block: the client's answer has no index.
    pub fn checks_of(allocation: &str) -> Self {
        Self::new(["client", "allocation", allocation, "checks"], READ)
    }
}
