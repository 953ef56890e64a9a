//! A job as the agent acts on it: the parts of Nomad's JSON job that have a meaning here, read once at its registration.
//!
//! In: a body that [`canonical`] filled up. Out: a [`Job`], or what is wrong with it. Durations are nanoseconds, as in
//! Nomad's JSON. What has no meaning here (affinities, volumes, Vault …) stays in the body and is shown as it came.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub(crate) mod canonical;
pub(crate) mod diff;
mod task;
pub(crate) mod validate;

pub(crate) use task::{Artifact, Check, Service, Stage, Task, Template};

/// Nanoseconds.
pub(crate) type Nanos = i64;

/// `null` counts as absent.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Which of Nomad's schedulers a job is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Service,
    Batch,
    System,
    Sysbatch,
}

impl Kind {
    /// Runs once to an end.
    pub(crate) fn is_batch(self) -> bool {
        matches!(self, Self::Batch | Self::Sysbatch)
    }

    /// One instance on each node.
    pub(crate) fn is_system(self) -> bool {
        matches!(self, Self::System | Self::Sysbatch)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Batch => "batch",
            Self::System => "system",
            Self::Sysbatch => "sysbatch",
        }
    }
}

/// A job's meaning.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Job {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(rename = "Type")]
    pub(crate) kind: Kind,
    pub(crate) priority: i64,
    pub(crate) region: String,
    pub(crate) namespace: String,
    pub(crate) datacenters: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) constraints: Vec<Constraint>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) meta: BTreeMap<String, String>,
    pub(crate) task_groups: Vec<Group>,
    #[serde(default)]
    pub(crate) parameterized_job: Option<Parameterized>,
    #[serde(default)]
    pub(crate) periodic: Option<Value>,
    /// Base64, of a dispatched job.
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) payload: String,
    #[serde(rename = "ParentID", default, deserialize_with = "nullable")]
    pub(crate) parent_id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) dispatched: bool,
}

impl Job {
    /// A template of jobs, which places nothing itself.
    pub(crate) fn is_template(&self) -> bool {
        (self.parameterized_job.is_some() && !self.dispatched) || self.periodic.is_some()
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.task_groups.iter().find(|group| group.name == name)
    }
}

/// `parameterized`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Parameterized {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) payload: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) meta_required: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) meta_optional: Vec<String>,
}

/// `constraint`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Constraint {
    #[serde(rename = "LTarget", default, deserialize_with = "nullable")]
    pub(crate) left: String,
    #[serde(rename = "RTarget", default, deserialize_with = "nullable")]
    pub(crate) right: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) operand: String,
}

/// `group`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) count: usize,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) constraints: Vec<Constraint>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) networks: Vec<Network>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) services: Vec<Service>,
    pub(crate) tasks: Vec<Task>,
    #[serde(default)]
    pub(crate) update: Option<Update>,
    #[serde(default)]
    pub(crate) migrate: Option<Migrate>,
    #[serde(rename = "ReschedulePolicy", default)]
    pub(crate) reschedule: Option<Reschedule>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) shutdown_delay: Nanos,
}

impl Group {
    /// The update block, unless it switches deployments off.
    pub(crate) fn strategy(&self) -> Option<&Update> {
        self.update.as_ref().filter(|update| update.max_parallel > 0)
    }

    pub(crate) fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// The services of the group, then those of its tasks with the task's name.
    pub(crate) fn all_services(&self) -> impl Iterator<Item = (Option<&Task>, &Service)> {
        let own = self.services.iter().map(|service| (None, service));
        let of_tasks = self
            .tasks
            .iter()
            .flat_map(|task| task.services.iter().map(move |service| (Some(task), service)));
        own.chain(of_tasks)
    }
}

/// `network`
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Network {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) mode: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) reserved_ports: Vec<Port>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) dynamic_ports: Vec<Port>,
}

impl Network {
    /// Whether the group has a network namespace of its own.
    pub(crate) fn is_bridge(&self) -> bool {
        self.mode == "bridge"
    }
}

/// `port`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Port {
    pub(crate) label: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) value: u16,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) to: i32,
}

/// `update`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Update {
    pub(crate) stagger: Nanos,
    pub(crate) max_parallel: usize,
    pub(crate) health_check: String,
    pub(crate) min_healthy_time: Nanos,
    pub(crate) healthy_deadline: Nanos,
    pub(crate) progress_deadline: Nanos,
    pub(crate) auto_revert: bool,
    pub(crate) auto_promote: bool,
    pub(crate) canary: usize,
}

/// `migrate`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Migrate {
    pub(crate) max_parallel: usize,
    pub(crate) health_check: String,
    pub(crate) min_healthy_time: Nanos,
    pub(crate) healthy_deadline: Nanos,
}

/// `restart`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Restart {
    pub(crate) attempts: usize,
    pub(crate) interval: Nanos,
    pub(crate) delay: Nanos,
    pub(crate) mode: String,
}

/// `reschedule`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Reschedule {
    pub(crate) attempts: usize,
    pub(crate) interval: Nanos,
    pub(crate) delay: Nanos,
    pub(crate) delay_function: String,
    pub(crate) max_delay: Nanos,
    pub(crate) unlimited: bool,
}
