//! `/v1/deployment`: how a new version of a job takes over.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::NomadClient;
use crate::decode::null_as_default;
use crate::error::NomadError;
use crate::jobs::Registered;
use crate::query::Query;

const READ: &str = "read-job";
const SUBMIT: &str = "submit-job";

/// A version of a job on its way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Deployment {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The job.
    #[serde(rename = "JobID")]
    pub job: String,
    /// The version that it brings.
    pub job_version: u64,
    /// `running`, `paused`, `pending`, `blocked`, `unblocking`, `initializing`, `successful`, `failed` or `cancelled`.
    pub status: String,
    /// In words.
    #[serde(deserialize_with = "null_as_default")]
    pub status_description: String,
    /// By task group.
    #[serde(deserialize_with = "null_as_default")]
    pub task_groups: BTreeMap<String, GroupDeployment>,
    /// When it began.
    pub create_index: u64,
}

impl Deployment {
    /// Whether it goes no further.
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "successful" | "failed" | "cancelled")
    }
}

/// One group's part of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupDeployment {
    /// Whether Nomad goes back by itself when it fails.
    pub auto_revert: bool,
    /// Whether Nomad promotes by itself.
    pub auto_promote: bool,
    /// Whether its canaries were promoted.
    pub promoted: bool,
    /// The canaries, by allocation.
    #[serde(deserialize_with = "null_as_default")]
    pub placed_canaries: Vec<String>,
    /// How many canaries there are to be.
    pub desired_canaries: u64,
    /// How many allocations there are to be.
    pub desired_total: u64,
    /// Placed so far.
    pub placed_allocs: u64,
    /// Healthy so far.
    pub healthy_allocs: u64,
    /// Unhealthy so far.
    pub unhealthy_allocs: u64,
    /// Without a healthy allocation more until then it fails (RFC 3339).
    #[serde(deserialize_with = "null_as_default")]
    pub require_progress_by: String,
}

impl Query<Deployment> {
    /// A deployment.
    pub fn deployment(id: &str) -> Self {
        Self::new(["deployment", id], READ)
    }
}

impl Query<Vec<Deployment>> {
    /// A job's deployments.
    pub fn deployments_of(job: &str) -> Self {
        Self::new(["job", job, "deployments"], READ)
    }
}

impl Query<Option<Deployment>> {
    /// A job's newest deployment; none where it never had one, as batches do not.
    pub fn latest_deployment_of(job: &str) -> Self {
        Self::new(["job", job, "deployment"], READ)
    }
}

impl NomadClient {
    /// Promotes every group's canaries. Those must be healthy.
    ///
    /// # Errors
    /// [`NomadError::Refused`] when they are not, or nothing is to promote.
    pub async fn promote(&self, deployment: &str) -> Result<Registered, NomadError> {
        let body = json!({"DeploymentID": deployment, "All": true});
        let path = ["deployment", "promote", deployment];
        self.submit(Method::POST, path, &[], &body, SUBMIT).await?.decode()
    }

    /// Ends a deployment as failed; where its groups say `auto_revert`, Nomad goes back to the last stable version.
    ///
    /// # Errors
    /// [`NomadError::Refused`] when it is over.
    pub async fn fail(&self, deployment: &str) -> Result<Registered, NomadError> {
        let body = json!({"DeploymentID": deployment});
        self.submit(Method::POST, ["deployment", "fail", deployment], &[], &body, SUBMIT)
            .await?
            .decode()
    }

    /// Holds a deployment, or lets it go on.
    ///
    /// # Errors
    /// [`NomadError::Refused`] when it is over.
    pub async fn pause(&self, deployment: &str, is_paused: bool) -> Result<Registered, NomadError> {
        let body = json!({"DeploymentID": deployment, "Pause": is_paused});
        self.submit(Method::POST, ["deployment", "pause", deployment], &[], &body, SUBMIT)
            .await?
            .decode()
    }
}
