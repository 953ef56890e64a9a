//! An allocation in the words of people: which version, how it is, since when.
//!
//! In: Nomad's allocations. Out: [`Instance`]s for progress, `meshctl status` and JSON. Pure.

use nomad::Allocation;
use serde::Serialize;

use super::view::short;

/// One instance of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// The allocation.
    pub id: String,
    /// Its group.
    pub group: String,
    /// The job's version that it runs.
    pub version: u64,
    /// `canary` until it is promoted, else `stable`.
    pub track: &'static str,
    /// `starting`, `healthy`, `unhealthy`, `running`, `draining`, `ended`, `failed`, `lost`.
    pub health: &'static str,
    /// The host.
    pub node: String,
    /// What its tasks do: `app running, envoy running`.
    pub tasks: String,
    /// When it was placed, in seconds since 1970.
    pub since: u64,
}

impl From<&Allocation> for Instance {
    fn from(own: &Allocation) -> Self {
        let task = |(name, task): (&String, &nomad::TaskState)| match task.restarts {
            0 => format!("{name} {}", word(task)),
            1 => format!("{name} {}, restarted once", word(task)),
            many => format!("{name} {}, restarted {many} times", word(task)),
        };
        Self {
            id: own.id.clone(),
            group: own.task_group.clone(),
            version: own.job_version,
            track: if own.deployment_status.canary { "canary" } else { "stable" },
            health: health(own),
            node: own.node_name.clone(),
            tasks: own.task_states.iter().map(task).collect::<Vec<_>>().join("; "),
            since: own.create_time / 1_000_000_000,
        }
    }
}

impl Instance {
    /// In one line: `8f31c0de (canary) is healthy on client-1`.
    pub fn sentence(&self) -> String {
        let track = if self.track == "canary" { " (canary)" } else { "" };
        let Self { id, health, version, node, .. } = self;
        let verb = match *health {
            "failed" => "has failed",
            "lost" => "is lost",
            "ended" => "has ended",
            other => &format!("is {other}"),
        };
        format!("instance {}{track} of version {version} {verb} on {node}", short(id))
    }
}

fn word(task: &nomad::TaskState) -> &str {
    match task.state.as_str() {
        "dead" if task.failed => "failed",
        "dead" => "done",
        other => other,
    }
}

fn health(own: &Allocation) -> &'static str {
    match (own.client_status.as_str(), own.deployment_status.healthy) {
        ("failed", _) => "failed",
        ("lost" | "unknown", _) => "lost",
        ("complete", _) => "ended",
        _ if own.desired_status != "run" => "draining",
        (_, Some(false)) => "unhealthy",
        ("running", Some(true)) => "healthy",
        ("running", None) if own.deployment.is_empty() && own.task_states.values().all(is_up) => {
            "running"
        }
        _ => "starting",
    }
}

fn is_up(task: &nomad::TaskState) -> bool {
    task.state != "pending"
}
