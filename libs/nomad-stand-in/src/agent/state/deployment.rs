//! Deployments: how far a version of a job has got.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::job::Nanos;
use crate::agent::time::NEVER;

/// Where a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeploymentStatus {
    Running,
    Paused,
    Failed,
    Successful,
    Cancelled,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Deployment {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) namespace: String,
    #[serde(rename = "JobID")]
    pub(crate) job_id: String,
    pub(crate) job_version: u64,
    pub(crate) job_modify_index: u64,
    pub(crate) job_spec_modify_index: u64,
    pub(crate) job_create_index: u64,
    pub(crate) is_multiregion: bool,
    pub(crate) task_groups: BTreeMap<String, GroupState>,
    pub(crate) status: DeploymentStatus,
    pub(crate) status_description: String,
    pub(crate) eval_priority: i64,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
    pub(crate) create_time: Nanos,
    pub(crate) modify_time: Nanos,
}

impl Deployment {
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.status, DeploymentStatus::Running | DeploymentStatus::Paused)
    }

    /// Whether canaries wait for a promotion.
    pub(crate) fn needs_promotion(&self) -> bool {
        self.task_groups.values().any(GroupState::needs_promotion)
    }
}

/// One group of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GroupState {
    pub(crate) auto_revert: bool,
    pub(crate) auto_promote: bool,
    pub(crate) progress_deadline: Nanos,
    /// RFC 3339, for readers.
    pub(crate) require_progress_by: String,
    /// The same in nanoseconds; 0 while nothing was placed. Not shown.
    #[serde(rename = "StandInRequireProgressBy")]
    pub(crate) progress_by: Nanos,
    pub(crate) promoted: bool,
    pub(crate) placed_canaries: Vec<String>,
    pub(crate) desired_canaries: usize,
    pub(crate) desired_total: usize,
    pub(crate) placed_allocs: usize,
    pub(crate) healthy_allocs: usize,
    pub(crate) unhealthy_allocs: usize,
}

impl GroupState {
    pub(crate) fn new() -> Self {
        Self { require_progress_by: NEVER.to_owned(), ..Self::default() }
    }

    pub(crate) fn needs_promotion(&self) -> bool {
        self.desired_canaries > 0 && !self.promoted
    }
}
