//! Versions of jobs: the body as it was registered, its meaning, and what the server adds to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{State, Table};
use crate::agent::job::{Job, Nanos};

/// A version of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub(crate) struct JobRecord {
    /// The body with its defaults, without what follows.
    pub(crate) body: Map<String, Value>,
    pub(crate) job: Arc<Job>,
    pub(crate) version: u64,
    pub(crate) stable: bool,
    pub(crate) stop: bool,
    /// `pending`, `running` or `dead`; of the current version alone.
    pub(crate) status: String,
    pub(crate) submit_time: Nanos,
    pub(crate) create_index: u64,
    pub(crate) modify_index: u64,
    pub(crate) job_modify_index: u64,
}

/// Keys that the server sets.
const SERVER_KEYS: [&str; 9] = [
    "Version",
    "Stable",
    "Stop",
    "Status",
    "StatusDescription",
    "SubmitTime",
    "CreateIndex",
    "ModifyIndex",
    "JobModifyIndex",
];

impl JobRecord {
    /// Reads a body that has its defaults.
    pub(crate) fn read(mut body: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let number = |key: &str| body.get(key).and_then(Value::as_u64).unwrap_or_default();
        let flag = |key: &str| body.get(key).and_then(Value::as_bool).unwrap_or_default();
        let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut record = Self {
            version: number("Version"),
            stable: flag("Stable"),
            stop: flag("Stop"),
            status: text("Status"),
            submit_time: body.get("SubmitTime").and_then(Value::as_i64).unwrap_or_default(),
            create_index: number("CreateIndex"),
            modify_index: number("ModifyIndex"),
            job_modify_index: number("JobModifyIndex"),
            job: Arc::new(Job::deserialize(&Value::Object(body.clone()))?),
            body: Map::new(),
        };
        for key in SERVER_KEYS {
            body.remove(key);
        }
        record.body = body;
        Ok(record)
    }

    /// The JSON that Nomad answers.
    pub(crate) fn json(&self) -> Value {
        let mut body = self.body.clone();
        let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
        set("Version", json!(self.version));
        set("Stable", json!(self.stable));
        set("Stop", json!(self.stop));
        set("Status", json!(self.status));
        set("StatusDescription", json!(""));
        set("SubmitTime", json!(self.submit_time));
        set("CreateIndex", json!(self.create_index));
        set("ModifyIndex", json!(self.modify_index));
        set("JobModifyIndex", json!(self.job_modify_index));
        Value::Object(body)
    }
}

impl From<JobRecord> for Value {
    fn from(record: JobRecord) -> Self {
        record.json()
    }
}

impl TryFrom<Value> for JobRecord {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let Value::Object(body) = value else { return Err("a job is an object".to_owned()) };
        Self::read(body).map_err(|error| error.to_string())
    }
}

/// Versions that are kept of a job, as in Nomad.
const VERSIONS_MAX: usize = 6;

impl State {
    /// Registers a version of a job: the same body again is no new version. Gives the job's record.
    pub(crate) fn put_job(&mut self, mut record: JobRecord, now: Nanos) -> Arc<JobRecord> {
        let index = self.touch(Table::Jobs);
        (record.modify_index, record.job_modify_index) = (index, index);
        let id = record.job.id.clone();
        match self.jobs.get(&id) {
            Some(current) => {
                record.create_index = current.create_index;
                let is_same = current.body == record.body && current.stop == record.stop;
                record.version = current.version + u64::from(!is_same);
                record.stable = is_same && current.stable;
                record.submit_time = if is_same { current.submit_time } else { now };
            }
            None => {
                (record.create_index, record.version) = (index, 0);
                (record.stable, record.submit_time) = (false, now);
            }
        }
        record.status = "pending".to_owned();
        let record = Arc::new(record);
        self.set_version(&record);
        let versions = self.versions.entry(id.clone()).or_default();
        if versions.len() > VERSIONS_MAX {
            // The newest stable version is what a revert goes to: it stays.
            let stable = versions.iter().position(|version| version.stable);
            let oldest = versions.len() - 1;
            versions.remove(if stable == Some(oldest) { oldest - 1 } else { oldest });
        }
        self.jobs.insert(id, Arc::clone(&record));
        record
    }

    fn set_version(&mut self, record: &Arc<JobRecord>) {
        let versions = self.versions.entry(record.job.id.clone()).or_default();
        match versions.iter_mut().find(|known| known.version == record.version) {
            Some(known) => *known = Arc::clone(record),
            None => versions.insert(0, Arc::clone(record)),
        }
    }

    /// Changes what the server says about the current version.
    pub(crate) fn change_job(&mut self, id: &str, change: impl FnOnce(&mut JobRecord)) {
        let Some(current) = self.jobs.get(id) else { return };
        let mut record = JobRecord::clone(current);
        change(&mut record);
        record.modify_index = self.touch(Table::Jobs);
        let record = Arc::new(record);
        self.set_version(&record);
        self.jobs.insert(id.to_owned(), record);
    }

    /// Marks a version as one that a revert may go back to.
    pub(crate) fn mark_stable(&mut self, id: &str, version: u64, stable: bool) {
        let index = self.touch(Table::Jobs);
        let marked = |record: &Arc<JobRecord>| {
            Arc::new(JobRecord { stable, modify_index: index, ..JobRecord::clone(record) })
        };
        for known in self.versions.entry(id.to_owned()).or_default() {
            if known.version == version {
                *known = marked(known);
            }
        }
        if let Some(current) = self.jobs.get_mut(id).filter(|job| job.version == version) {
            *current = marked(current);
        }
    }

    /// A version of a job.
    pub(crate) fn version(&self, id: &str, version: u64) -> Option<&Arc<JobRecord>> {
        self.versions.get(id)?.iter().find(|record| record.version == version)
    }

    /// Forgets a job, its versions, evaluations and deployments; allocations stay until they are collected.
    pub(crate) fn purge_job(&mut self, id: &str) {
        self.jobs.remove(id);
        self.versions.remove(id);
        self.deployments.retain(|_, deployment| deployment.job_id != id);
        self.touch(Table::Jobs);
        self.touch(Table::Deployments);
    }

    /// Brings each job's status up to date with its evaluations and allocations.
    pub(crate) fn refresh_job_statuses(&mut self) {
        let stale: Vec<(String, &'static str)> = self
            .jobs
            .values()
            .map(|record| (record.job.id.clone(), self.job_status(record), record))
            .filter(|(_, status, record)| record.status != *status)
            .map(|(id, status, _)| (id, status))
            .collect();
        for (id, status) in stale {
            self.change_job(&id, |record| record.status = status.to_owned());
        }
    }

    fn job_status(&self, record: &JobRecord) -> &'static str {
        use super::EvalStatus::{Blocked, Pending};
        let job = &record.job;
        let is_standing = job.is_template() || job.kind.is_system();
        let mut allocations = self.allocations.values().filter(|one| one.job_id == job.id);
        if allocations.any(|one| !one.is_terminal()) {
            return "running";
        }
        if is_standing {
            return if record.stop { "dead" } else { "running" };
        }
        let mut evaluations =
            self.evaluations.values().filter(|one| one.job_id == job.id).peekable();
        if evaluations.peek().is_none() {
            return "pending";
        }
        if evaluations.any(|one| matches!(one.status, Pending | Blocked)) {
            "pending"
        } else {
            "dead"
        }
    }
}
