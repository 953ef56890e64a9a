//! `/v1/evaluation`: what the scheduler made of a change.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::decode::null_as_default;
use crate::query::Query;

/// A run of the scheduler for one job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Evaluation {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The job.
    #[serde(rename = "JobID")]
    pub job: String,
    /// `pending`, `complete`, `failed`, `canceled` or `blocked`.
    pub status: String,
    /// Why it has that status.
    #[serde(deserialize_with = "null_as_default")]
    pub status_description: String,
    /// Why it was made, such as `job-register`.
    #[serde(deserialize_with = "null_as_default")]
    pub triggered_by: String,
    /// The deployment that it began or carried on; empty: none.
    #[serde(rename = "DeploymentID", deserialize_with = "null_as_default")]
    pub deployment: String,
    /// The evaluation that goes on with it; empty: none.
    #[serde(rename = "NextEval", deserialize_with = "null_as_default")]
    pub next: String,
    /// The evaluation that waits for room; empty: everything has a place.
    #[serde(rename = "BlockedEval", deserialize_with = "null_as_default")]
    pub blocked: String,
    /// Groups for which there was no place.
    #[serde(rename = "FailedTGAllocs", deserialize_with = "null_as_default")]
    pub failed_groups: BTreeMap<String, PlacementFailure>,
}

/// Why there is no place for a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PlacementFailure {
    /// Nodes looked at.
    pub nodes_evaluated: u64,
    /// Nodes that a constraint ruled out.
    pub nodes_filtered: u64,
    /// Nodes without room.
    pub nodes_exhausted: u64,
    /// By constraint, how many nodes it ruled out.
    #[serde(deserialize_with = "null_as_default")]
    pub constraint_filtered: BTreeMap<String, u64>,
    /// By resource, how many nodes lack it.
    #[serde(deserialize_with = "null_as_default")]
    pub dimension_exhausted: BTreeMap<String, u64>,
    /// Further instances of the group with the same fate.
    pub coalesced_failures: u64,
}

impl Query<Evaluation> {
    /// An evaluation.
    pub fn evaluation(id: &str) -> Self {
        Self::new(["evaluation", id], "read-job")
    }
}

impl Query<Vec<Evaluation>> {
    /// The evaluations of a job.
    pub fn evaluations_of(job: &str) -> Self {
        Self::new(["job", job, "evaluations"], "read-job")
    }
}
