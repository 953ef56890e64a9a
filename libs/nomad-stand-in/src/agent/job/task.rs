//! Tasks and services of a job.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Constraint, Nanos, Restart, nullable};

/// `task`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) driver: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) user: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) config: Map<String, Value>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) env: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) constraints: Vec<Constraint>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) services: Vec<Service>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) meta: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) lifecycle: Option<Lifecycle>,
    #[serde(rename = "RestartPolicy")]
    pub(crate) restart: Restart,
    pub(crate) resources: Resources,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) templates: Vec<Template>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) artifacts: Vec<Artifact>,
    #[serde(default)]
    pub(crate) dispatch_payload: Option<DispatchPayload>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) leader: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) shutdown_delay: Nanos,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) kill_timeout: Nanos,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) kill_signal: String,
}

/// Where a task stands in its group's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Before the main tasks, to its end.
    Prestart,
    /// Beside the main tasks: started before or after them, ended after them.
    Sidecar,
    Main,
    Poststart,
    Poststop,
}

impl Task {
    pub(crate) fn stage(&self) -> Stage {
        match &self.lifecycle {
            None => Stage::Main,
            Some(lifecycle) if lifecycle.hook == "poststop" => Stage::Poststop,
            Some(lifecycle) if lifecycle.sidecar => Stage::Sidecar,
            Some(lifecycle) if lifecycle.hook == "prestart" => Stage::Prestart,
            Some(_) => Stage::Poststart,
        }
    }

    /// Whether it starts only when the main tasks run.
    pub(crate) fn is_after_main(&self) -> bool {
        self.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.hook == "poststart")
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.config.get(key).and_then(Value::as_str)
    }
}

/// `lifecycle`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Lifecycle {
    pub(crate) hook: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) sidecar: bool,
}

/// `resources`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Resources {
    #[serde(rename = "CPU")]
    pub(crate) cpu: u64,
    #[serde(rename = "MemoryMB")]
    pub(crate) memory_mb: u64,
    #[serde(rename = "MemoryMaxMB", default, deserialize_with = "nullable")]
    pub(crate) memory_max_mb: u64,
}

/// `template`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Template {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) source_path: String,
    #[serde(rename = "DestPath")]
    pub(crate) destination: String,
    #[serde(rename = "EmbeddedTmpl", default, deserialize_with = "nullable")]
    pub(crate) text: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) perms: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) envvars: bool,
}

/// `artifact`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Artifact {
    #[serde(rename = "GetterSource")]
    pub(crate) source: String,
    #[serde(rename = "GetterOptions", default, deserialize_with = "nullable")]
    pub(crate) options: BTreeMap<String, String>,
    #[serde(rename = "GetterMode", default, deserialize_with = "nullable")]
    pub(crate) mode: String,
    #[serde(rename = "RelativeDest", default, deserialize_with = "nullable")]
    pub(crate) destination: String,
}

/// `dispatch_payload`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DispatchPayload {
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) file: String,
}

/// `service`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Service {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) provider: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) port_label: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) address_mode: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) address: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) canary_tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) canary_meta: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) checks: Vec<Check>,
    #[serde(default)]
    pub(crate) weights: Option<Weights>,
}

/// `weights`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Weights {
    pub(crate) passing: i64,
    pub(crate) warning: i64,
}

/// `check`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Check {
    pub(crate) name: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) method: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) protocol: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) port_label: String,
    pub(crate) interval: Nanos,
    pub(crate) timeout: Nanos,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) header: BTreeMap<String, Vec<String>>,
    #[serde(rename = "GRPCService", default, deserialize_with = "nullable")]
    pub(crate) grpc_service: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) initial_status: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) on_update: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) success_before_passing: u64,
    #[serde(default, deserialize_with = "nullable")]
    pub(crate) failures_before_critical: u64,
}
