//! What a registration would change: `POST /v1/job/ID/plan`.
//!
//! Whether anything changes is [`Diff::kind`], not the counts of allocations: a change of tags or meta alone touches no
//! allocation and is a change all the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::decode::null_as_default;
use crate::evaluations::PlacementFailure;

/// A dry run of the scheduler.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Plan {
    /// What is different from the job as it is.
    #[serde(deserialize_with = "null_as_default")]
    pub diff: Diff,
    /// What would happen to allocations.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: Annotations,
    /// Groups for which there is no place.
    #[serde(rename = "FailedTGAllocs", deserialize_with = "null_as_default")]
    pub failed_groups: BTreeMap<String, PlacementFailure>,
    /// What check-and-set has to name; 0: the job does not exist.
    pub job_modify_index: u64,
    /// What Nomad thinks of it.
    #[serde(deserialize_with = "null_as_default")]
    pub warnings: String,
}

/// The scheduler's notes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Annotations {
    /// By task group.
    #[serde(rename = "DesiredTGUpdates", deserialize_with = "null_as_default")]
    pub updates: BTreeMap<String, UpdateCounts>,
}

/// How many allocations of a group would be touched, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UpdateCounts {
    /// Left alone.
    pub ignore: u64,
    /// New ones.
    pub place: u64,
    /// Moved from a node that drains.
    pub migrate: u64,
    /// Stopped.
    pub stop: u64,
    /// Changed without a restart.
    pub in_place_update: u64,
    /// Stopped and placed anew.
    pub destructive_update: u64,
    /// New ones beside the old.
    pub canary: u64,
}

/// The difference of a whole job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Diff {
    /// `None`, `Added`, `Deleted` or `Edited`.
    #[serde(rename = "Type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Of the job itself.
    #[serde(deserialize_with = "null_as_default")]
    pub fields: Vec<FieldDiff>,
    /// Its blocks.
    #[serde(deserialize_with = "null_as_default")]
    pub objects: Vec<ObjectDiff>,
    /// Its groups.
    #[serde(deserialize_with = "null_as_default")]
    pub task_groups: Vec<GroupDiff>,
}

impl Diff {
    /// Whether registering it would change anything.
    pub fn is_empty(&self) -> bool {
        matches!(self.kind.as_str(), "" | "None")
    }
}

/// The difference of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupDiff {
    /// As [`Diff::kind`].
    #[serde(rename = "Type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Of the group itself.
    #[serde(deserialize_with = "null_as_default")]
    pub fields: Vec<FieldDiff>,
    /// Its blocks.
    #[serde(deserialize_with = "null_as_default")]
    pub objects: Vec<ObjectDiff>,
    /// Its tasks.
    #[serde(deserialize_with = "null_as_default")]
    pub tasks: Vec<TaskDiff>,
    /// Counts such as `create`, `destroy`, `in-place update`.
    #[serde(deserialize_with = "null_as_default")]
    pub updates: BTreeMap<String, u64>,
}

/// The difference of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskDiff {
    /// As [`Diff::kind`].
    #[serde(rename = "Type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Of the task itself.
    #[serde(deserialize_with = "null_as_default")]
    pub fields: Vec<FieldDiff>,
    /// Its blocks.
    #[serde(deserialize_with = "null_as_default")]
    pub objects: Vec<ObjectDiff>,
    /// Such as `forces create/destroy update`.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: Vec<String>,
}

/// The difference of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ObjectDiff {
    /// As [`Diff::kind`].
    #[serde(rename = "Type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Which block.
    pub name: String,
    /// Its fields.
    #[serde(deserialize_with = "null_as_default")]
    pub fields: Vec<FieldDiff>,
    /// Blocks in it.
    #[serde(deserialize_with = "null_as_default")]
    pub objects: Vec<Self>,
}

/// The difference of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct FieldDiff {
    /// As [`Diff::kind`].
    #[serde(rename = "Type", deserialize_with = "null_as_default")]
    pub kind: String,
    /// Which field.
    pub name: String,
    /// Before.
    #[serde(deserialize_with = "null_as_default")]
    pub old: String,
    /// After.
    #[serde(deserialize_with = "null_as_default")]
    pub new: String,
    /// As [`TaskDiff::annotations`].
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: Vec<String>,
}
