//! Allocations: one group of a job on one node, with what was decided about it and what its client says.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{JobRecord, TaskState};
use crate::agent::job::{Group, Nanos};
use crate::agent::time::NEVER;

/// What is wanted of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Desired {
    Run,
    Stop,
}

/// What the client says about an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientStatus {
    Pending,
    Running,
    Complete,
    Failed,
    Lost,
}

impl ClientStatus {
    pub(crate) fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Failed | Self::Lost)
    }
}

/// An allocation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Allocation {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "EvalID")]
    pub(crate) eval_id: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    #[serde(rename = "NodeID")]
    pub(crate) node_id: String,
    pub(crate) node_name: String,
    #[serde(rename = "JobID")]
    pub(crate) job_id: String,
    pub(crate) job: Arc<JobRecord>,
    pub(crate) task_group: String,
    pub(crate) allocated_resources: AllocatedResources,
    pub(crate) desired_status: Desired,
    pub(crate) desired_description: String,
    pub(crate) desired_transition: Transition,
    pub(crate) client_status: ClientStatus,
    pub(crate) client_description: String,
    pub(crate) task_states: BTreeMap<String, TaskState>,
    #[serde(rename = "DeploymentID")]
    pub(crate) deployment_id: String,
    pub(crate) deployment_status: Option<Health>,
    pub(crate) reschedule_tracker: Option<RescheduleTracker>,
    #[serde(rename = "FollowupEvalID")]
    pub(crate) followup_eval_id: String,
    pub(crate) previous_allocation: String,
    pub(crate) next_allocation: String,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
    pub(crate) alloc_modify_index: u64,
    pub(crate) create_time: Nanos,
    pub(crate) modify_time: Nanos,
}

impl Allocation {
    /// Stopped by decision, or ended by itself.
    pub(crate) fn is_terminal(&self) -> bool {
        self.desired_status == Desired::Stop || self.client_status.is_terminal()
    }

    /// The group that it runs.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.job.job.group(&self.task_group)
    }

    /// N of its name `job.group[N]`.
    pub(crate) fn number(&self) -> usize {
        let number = self.name.rsplit_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
        number.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn is_canary(&self) -> bool {
        self.deployment_status.as_ref().is_some_and(|health| health.canary)
    }

    pub(crate) fn healthy(&self) -> Option<bool> {
        self.deployment_status.as_ref()?.healthy
    }

    /// When it ended, by its tasks; else when it was changed last.
    pub(crate) fn ended_at(&self) -> Nanos {
        self.modify_time
    }
}

/// What the node set aside for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AllocatedResources {
    pub(crate) tasks: BTreeMap<String, TaskShare>,
    pub(crate) shared: Shared,
}

/// A task's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TaskShare {
    pub(crate) cpu: CpuShare,
    pub(crate) memory: MemoryShare,
}

/// In MHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CpuShare {
    pub(crate) cpu_shares: u64,
}

/// In MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemoryShare {
    #[serde(rename = "MemoryMB")]
    pub(crate) memory_mb: u64,
    #[serde(rename = "MemoryMaxMB")]
    pub(crate) memory_max_mb: u64,
}

impl TaskShare {
    pub(crate) fn new(cpu_shares: u64, memory_mb: u64, memory_max_mb: u64) -> Self {
        Self { cpu: CpuShare { cpu_shares }, memory: MemoryShare { memory_mb, memory_max_mb } }
    }
}

/// What the whole group shares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Shared {
    #[serde(rename = "DiskMB")]
    pub(crate) disk_mb: u64,
    pub(crate) ports: Vec<AllocatedPort>,
    pub(crate) networks: Vec<serde_json::Value>,
}

/// A port of the host, and which port of the group's network it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AllocatedPort {
    pub(crate) label: String,
    pub(crate) value: u16,
    pub(crate) to: u16,
    #[serde(rename = "HostIP")]
    pub(crate) host_ip: String,
}

/// What an operator or a watcher wants of an allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Transition {
    pub(crate) migrate: Option<bool>,
    pub(crate) reschedule: Option<bool>,
    pub(crate) force_reschedule: Option<bool>,
    pub(crate) no_shutdown_delay: Option<bool>,
}

/// Its health in a deployment or a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Health {
    pub(crate) healthy: Option<bool>,
    pub(crate) timestamp: String,
    pub(crate) canary: bool,
    pub(crate) modify_index: u64,
}

impl Health {
    /// Not known yet.
    pub(crate) fn unknown(canary: bool) -> Self {
        Self { healthy: None, timestamp: NEVER.to_owned(), canary, modify_index: 0 }
    }
}

/// Which allocations it stands for, after failures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RescheduleTracker {
    pub(crate) events: Vec<RescheduleEvent>,
}

/// One replacement after a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RescheduleEvent {
    pub(crate) reschedule_time: Nanos,
    #[serde(rename = "PrevAllocID")]
    pub(crate) prev_alloc_id: String,
    #[serde(rename = "PrevNodeID")]
    pub(crate) prev_node_id: String,
    pub(crate) delay: Nanos,
}
