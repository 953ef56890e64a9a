//! Evaluations: each one look of the scheduler at a job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::job::Nanos;

/// Where an evaluation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EvalStatus {
    Pending,
    Complete,
    Blocked,
    Failed,
    Canceled,
}

/// Why there is an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trigger {
    JobRegister,
    JobDeregister,
    DeploymentWatcher,
    AllocFailure,
    AllocStop,
    NodeUpdate,
    NodeDrain,
    RollingUpdate,
    QueuedAllocs,
}

/// An evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Evaluation {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) namespace: String,
    pub(crate) priority: i64,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    pub(crate) triggered_by: Trigger,
    #[serde(rename = "JobID")]
    pub(crate) job_id: String,
    pub(crate) job_modify_index: u64,
    #[serde(rename = "NodeID")]
    pub(crate) node_id: String,
    #[serde(rename = "DeploymentID")]
    pub(crate) deployment_id: String,
    pub(crate) status: EvalStatus,
    pub(crate) status_description: String,
    /// Not before this time; 0: at once. Not shown.
    #[serde(rename = "StandInWaitUntil")]
    pub(crate) wait_until: Nanos,
    pub(crate) next_eval: String,
    pub(crate) previous_eval: String,
    pub(crate) blocked_eval: String,
    #[serde(rename = "FailedTGAllocs")]
    pub(crate) failed: Option<BTreeMap<String, Unplaced>>,
    pub(crate) queued_allocations: BTreeMap<String, usize>,
    pub(crate) snapshot_index: u64,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
    pub(crate) create_time: Nanos,
    pub(crate) modify_time: Nanos,
}

/// Why instances of a group found no place; Nomad's AllocMetric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Unplaced {
    pub(crate) nodes_evaluated: usize,
    pub(crate) nodes_filtered: usize,
    pub(crate) nodes_in_pool: usize,
    pub(crate) nodes_available: BTreeMap<String, usize>,
    pub(crate) class_filtered: Option<BTreeMap<String, usize>>,
    pub(crate) constraint_filtered: BTreeMap<String, usize>,
    pub(crate) nodes_exhausted: usize,
    pub(crate) class_exhausted: Option<BTreeMap<String, usize>>,
    pub(crate) dimension_exhausted: BTreeMap<String, usize>,
    pub(crate) quota_exhausted: Option<Vec<String>>,
    pub(crate) allocation_time: Nanos,
    pub(crate) coalesced_failures: usize,
}
