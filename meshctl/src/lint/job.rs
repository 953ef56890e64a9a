//! A job as far as rules read it.
//!
//! In: a parsed file. Out: [`Job`]s. Pure; every part knows its line.
//!
//! Fields are named as Nomad's attributes and mean what they mean; `line` is where a block begins.
//!
//! **Invariant**: what Nomad inherits is inherited here: a group without `update`, `restart` or `reschedule` has its job's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::proxy::Proxy;
use jobspec::{Node, Read};

mod read;

/// A `job` block.
#[derive(Debug, Clone)]
pub struct Job {
    pub label: String,
    pub line: usize,
    pub kind: Read<String>,
    pub name: Read<String>,
    pub is_parameterized: bool,
    pub groups: Vec<Group>,
}

/// A `group` block.
#[derive(Debug, Clone)]
pub struct Group {
    pub label: String,
    pub line: usize,
    pub count: Read<u64>,
    pub shutdown_delay: Read<Duration>,
    pub network: Option<Network>,
    pub services: Vec<Service>,
    pub tasks: Vec<Task>,
    pub update: Option<Update>,
    pub restart_attempts: Read<u64>,
    pub reschedule: Reschedule,
}

/// `reschedule`, as far as a batch needs it.
#[derive(Debug, Clone)]
pub struct Reschedule {
    pub attempts: Read<u64>,
    pub unlimited: Read<bool>,
}

/// An `update` block.
#[derive(Debug, Clone)]
pub struct Update {
    pub line: usize,
    pub max_parallel: Read<u64>,
    pub canary: Read<u64>,
    pub auto_revert: Read<bool>,
    pub health_check: Read<String>,
    pub min_healthy_time: Read<Duration>,
    pub healthy_deadline: Read<Duration>,
    pub progress_deadline: Read<Duration>,
}

/// A group's `network` block.
#[derive(Debug, Clone)]
pub struct Network {
    pub line: usize,
    pub mode: Read<String>,
    pub ports: Vec<Port>,
}

/// A `port` block.
#[derive(Debug, Clone)]
pub struct Port {
    pub label: String,
    pub line: usize,
    pub fixed: Read<u64>,
    pub to: Read<u64>,
}

/// The provider of services that Nomad registers with itself.
pub const NOMAD: &str = "nomad";

/// A `service` block.
#[derive(Debug, Clone)]
pub struct Service {
    pub line: usize,
    pub name: Read<String>,
    pub port: Read<String>,
    pub provider: Read<String>,
    /// What it says to the mesh: `meta`, or with Nomad's own services its `tags`.
    pub meta: Meta,
    /// What replaces it until promotion: `canary_meta`, or `canary_tags`.
    pub canary_meta: Option<Meta>,
    /// Where keys of the mesh stand that nobody reads: `meta` of one of Nomad's own services.
    pub stray_meta: Option<usize>,
    pub checks: Vec<Check>,
    pub weights: Option<usize>,
    /// Whether it stands in a task instead of the group.
    pub is_of_task: bool,
}

/// A `meta` or `canary_meta` block; or tags, `KEY=VALUE` each.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    pub line: usize,
    pub keys: BTreeMap<String, Read<String>>,
    /// Whether there are tags that are not known: each may be any key.
    pub has_unknown: bool,
}

/// A `check` block.
#[derive(Debug, Clone)]
pub struct Check {
    pub line: usize,
    pub kind: Read<String>,
    pub port: Read<String>,
    pub on_update: Read<String>,
}

/// A `task` block.
#[derive(Debug, Clone)]
pub struct Task {
    pub label: String,
    pub line: usize,
    pub driver: Read<String>,
    pub lifecycle: Option<Lifecycle>,
    pub leader: Read<bool>,
    pub kill_timeout: Read<Duration>,
    pub kill_signal: Read<String>,
    pub templates: Vec<Template>,
    pub image: Read<String>,
    pub network_mode: Read<String>,
    /// The driver's log settings, where the task has its own.
    pub log_driver: Option<(usize, Read<String>)>,
    pub logs_disabled: Read<bool>,
    /// Command and arguments; `None`: a word that is not known.
    pub words: Vec<Option<String>>,
    /// Line of the arguments.
    pub words_line: usize,
    pub env: BTreeMap<String, Read<String>>,
    /// The Envoy that it runs, if it runs one.
    pub proxy: Option<Proxy>,
}

/// A `lifecycle` block.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    pub line: usize,
    pub hook: Read<String>,
    pub sidecar: Read<bool>,
}

/// A `template` block.
#[derive(Debug, Clone)]
pub struct Template {
    pub line: usize,
    pub change_mode: Read<String>,
    pub once: Read<bool>,
    pub data: Read<String>,
}

impl Job {
    /// The jobs of a file.
    pub fn of_file(file: &Node<'_>) -> Vec<Self> {
        file.blocks("job").iter().map(read::job).collect()
    }

    /// Whether it is of this type; a job without one is a service.
    pub fn is(&self, kind: &str) -> bool {
        self.kind.or("service".to_owned()).as_deref() == Some(kind)
    }
}

impl Group {
    /// The services of the mesh.
    pub fn mesh_services(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.is_mesh())
    }

    /// Whether it has a network namespace of its own.
    pub fn is_bridge(&self) -> bool {
        let mode = self.network.as_ref().and_then(|network| network.mode.known());
        mode.is_some_and(|mode| mode == "bridge" || mode.starts_with("cni/"))
    }

    /// The port with this label.
    pub fn port(&self, label: &str) -> Option<&Port> {
        self.network.iter().flat_map(|network| &network.ports).find(|port| port.label == label)
    }

    /// The tasks that run an Envoy.
    pub fn proxies(&self) -> impl Iterator<Item = (&Task, &Proxy)> {
        self.tasks.iter().filter_map(|task| Some((task, task.proxy.as_ref()?)))
    }
}

impl Meta {
    /// Whether it has keys of the mesh.
    pub fn is_mesh(&self) -> bool {
        self.keys.keys().any(|key| key.starts_with("mesh_"))
    }
}

impl Service {
    /// Whether it takes part in the mesh.
    pub fn is_mesh(&self) -> bool {
        self.meta.is_mesh()
    }

    /// Whether Nomad registers it with itself, in place of Consul.
    pub fn is_nomads(&self) -> bool {
        self.provider.known().is_some_and(|provider| provider == NOMAD)
    }

    /// What its keys stand in, and those of its canaries.
    pub fn places(&self) -> [&'static str; 2] {
        if self.is_nomads() { ["tags", "canary_tags"] } else { ["meta", "canary_meta"] }
    }

    /// Its name for a message.
    pub fn called(&self) -> &str {
        self.name.known().map_or("(unnamed)", String::as_str)
    }
}

impl Task {
    /// Whether it is started before the main tasks, goes on beside them, and ends after them.
    pub fn is_sidecar(&self) -> bool {
        self.lifecycle.as_ref().is_some_and(|own| own.sidecar.known() == Some(&true))
    }

    /// Whether it is neither prestart nor poststart nor poststop.
    pub const fn is_main(&self) -> bool {
        self.lifecycle.is_none()
    }
}
