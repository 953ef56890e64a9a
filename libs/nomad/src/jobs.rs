//! `/v1/jobs`, `/v1/job`: parsing, planning, registering, stopping, dispatching.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::client::NomadClient;
use crate::decode::null_as_default;
use crate::error::NomadError;
use crate::plan::Plan;
use crate::query::Query;

const SUBMIT: &str = "submit-job";
const READ: &str = "read-job";

/// A job as Nomad's JSON has it, with every field, also those that this client has never heard of.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Job {
    /// The JSON object.
    pub body: Value,
}

impl Job {
    /// Its id: the label of the `job` block.
    pub fn id(&self) -> &str {
        self.text("ID")
    }

    /// `service`, `batch`, `system` or `sysbatch`; empty until Nomad has filled in defaults.
    pub fn kind(&self) -> &str {
        self.text("Type")
    }

    /// `pending`, `running` or `dead`; `dead` is success and failure alike.
    pub fn status(&self) -> &str {
        self.text("Status")
    }

    /// Counts up with each registration that changes it.
    pub fn version(&self) -> u64 {
        self.number("Version")
    }

    /// What a check-and-set names. It moves with registrations, not with the job's state.
    pub fn modify_index(&self) -> u64 {
        self.number("JobModifyIndex")
    }

    /// When it was first registered: another one where it was purged in between.
    pub fn create_index(&self) -> u64 {
        self.number("CreateIndex")
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.body.get("Stop").and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whether a deployment of this version was successful.
    pub fn is_stable(&self) -> bool {
        self.body.get("Stable").and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whether it is dispatched with parameters.
    pub fn is_parameterized(&self) -> bool {
        self.body.get("ParameterizedJob").is_some_and(Value::is_object)
    }

    /// Whether a clock starts its runs.
    pub fn is_periodic(&self) -> bool {
        self.body.get("Periodic").is_some_and(Value::is_object)
    }

    /// Its task groups.
    pub fn groups(&self) -> impl Iterator<Item = &Value> {
        self.body.get("TaskGroups").and_then(Value::as_array).into_iter().flatten()
    }

    /// Its task groups by name, with how many instances each is to have.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.groups().map(|group| {
            let name = group.get("Name").and_then(Value::as_str).unwrap_or_default();
            (name, group.get("Count").and_then(Value::as_u64).unwrap_or(1))
        })
    }

    /// Its task groups, to change them.
    pub fn groups_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.body.get_mut("TaskGroups").and_then(Value::as_array_mut).into_iter().flatten()
    }

    fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn number(&self, key: &str) -> u64 {
        self.body.get(key).and_then(Value::as_u64).unwrap_or_default()
    }
}

/// How a job is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// Only if its modify index is this; 0: only if it does not exist.
    CheckAndSet(u64),
    /// Whatever is there.
    Always,
}

/// What a write to a job led to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Registered {
    /// The evaluation that places it; empty where nothing is to place (periodic, parameterized).
    #[serde(rename = "EvalID", default, deserialize_with = "null_as_default")]
    pub evaluation: String,
    /// The job's new modify index.
    #[serde(default)]
    pub job_modify_index: u64,
    /// What Nomad thinks of it; empty mostly.
    #[serde(default, deserialize_with = "null_as_default")]
    pub warnings: String,
}

/// What a dispatch led to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Dispatch {
    /// The child's id, which holds a slash.
    #[serde(rename = "DispatchedJobID")]
    pub job: String,
    /// Empty when the idempotency token was seen before.
    #[serde(rename = "EvalID", default, deserialize_with = "null_as_default")]
    pub evaluation: String,
}

/// How many allocations are in which state, by task group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobSummary {
    /// By the group's name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub summary: BTreeMap<String, GroupSummary>,
}

/// One group's allocations by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupSummary {
    /// Waiting for a place.
    pub queued: u64,
    /// Placed, not running yet.
    pub starting: u64,
    /// Running.
    pub running: u64,
    /// Ended well.
    pub complete: u64,
    /// Ended badly.
    pub failed: u64,
    /// On a node that is gone.
    pub lost: u64,
    /// On a node that does not answer.
    pub unknown: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Versions {
    #[serde(rename = "Versions", default, deserialize_with = "null_as_default")]
    versions: Vec<Job>,
}

impl Query<Job> {
    /// The job as it is registered now.
    pub fn job(id: &str) -> Self {
        Self::new(["job", id], READ)
    }
}

impl Query<JobSummary> {
    /// The job's allocations by state.
    pub fn summary(id: &str) -> Self {
        Self::new(["job", id, "summary"], READ)
    }
}

impl NomadClient {
    /// Nomad's own parser turns HCL into a job, with defaults filled in. `variables` are assignments in HCL.
    ///
    /// # Errors
    /// [`NomadError::Refused`] with every diagnostic of the parser.
    pub async fn parse(&self, hcl: &str, variables: &str) -> Result<Job, NomadError> {
        let body = json!({"JobHCL": hcl, "Variables": variables, "Canonicalize": true});
        let reply = self.submit(Method::POST, ["jobs", "parse"], &[], &body, "parse-job").await?;
        reply.decode()
    }

    /// What registering the job would change, without doing it.
    ///
    /// # Errors
    /// [`NomadError::Refused`] with what validation found.
    pub async fn plan(&self, job: &Job) -> Result<Plan, NomadError> {
        let body = json!({"Job": job, "Diff": true});
        let reply =
            self.submit(Method::POST, ["job", job.id(), "plan"], &[], &body, SUBMIT).await?;
        reply.decode()
    }

    /// Registers the job.
    ///
    /// # Errors
    /// [`NomadError::Conflict`] when check-and-set finds another index.
    pub async fn register(&self, job: &Job, how: Registration) -> Result<Registered, NomadError> {
        let mut body = json!({"Job": job});
        if let (Registration::CheckAndSet(index), Some(fields)) = (how, body.as_object_mut()) {
            fields.insert("EnforceIndex".to_owned(), true.into());
            fields.insert("JobModifyIndex".to_owned(), index.into());
        }
        let reply = self.submit(Method::POST, ["jobs"], &[], &body, SUBMIT).await?;
        reply.decode()
    }

    /// The job, or `None` where there is none.
    ///
    /// # Errors
    /// As [`NomadClient::read`].
    pub async fn job(&self, id: &str) -> Result<Option<Job>, NomadError> {
        match self.read(&Query::job(id)).await {
            Ok(answer) => Ok(Some(answer.value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every version that Nomad keeps, newest first.
    ///
    /// # Errors
    /// As [`NomadClient::read`].
    pub async fn versions(&self, id: &str) -> Result<Vec<Job>, NomadError> {
        let query = Query::<Versions>::new(["job", id, "versions"], READ);
        Ok(self.read(&query).await?.value.versions)
    }

    /// Goes back to a version, if the newest one is `prior`. A revert is a new version, with the old one's content.
    ///
    /// # Errors
    /// [`NomadError::Refused`] when the newest is another one.
    pub async fn revert(
        &self,
        id: &str,
        to: u64,
        prior: Option<u64>,
    ) -> Result<Registered, NomadError> {
        let body = json!({"JobID": id, "JobVersion": to, "EnforcePriorVersion": prior});
        let reply = self.submit(Method::POST, ["job", id, "revert"], &[], &body, SUBMIT).await?;
        reply.decode()
    }

    /// Stops the job; with `purge` Nomad forgets it too, which leaves its allocations to be collected later.
    ///
    /// # Errors
    /// [`NomadError::NotFound`] for an unknown job.
    pub async fn stop(&self, id: &str, purge: bool) -> Result<Registered, NomadError> {
        let parameters = [("purge", purge.to_string())];
        let reply =
            self.submit(Method::DELETE, ["job", id], &parameters, &json!({}), SUBMIT).await?;
        reply.decode()
    }

    /// Starts a run of a parameterized job. The same `token` again gives the same child.
    ///
    /// # Errors
    /// [`NomadError::Refused`] for meta that is missing or unknown.
    pub async fn dispatch(
        &self,
        id: &str,
        meta: &BTreeMap<String, String>,
        payload: &[u8],
        token: Option<&str>,
    ) -> Result<Dispatch, NomadError> {
        let body = json!({"Meta": meta, "Payload": STANDARD.encode(payload)});
        let parameters: Vec<_> =
            token.map(|token| ("idempotency_token", token.to_owned())).into_iter().collect();
        let path = ["job", id, "dispatch"];
        let reply = self.submit(Method::POST, path, &parameters, &body, "dispatch-job").await?;
        reply.decode()
    }
}
