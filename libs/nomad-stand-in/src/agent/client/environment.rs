//! What a task finds in its environment, and what `${…}` in its job means.
//!
//! In: an allocation, its task, its node and network. Out: variables, and texts with their references replaced. A reference
//! that nothing here knows stays as it is, as in Nomad.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::folders::TaskPaths;
use crate::agent::evaluate::changes::meta;
use crate::agent::evaluate::place::feasible;
use crate::agent::job::{Group, Task};
use crate::agent::state::{Allocation, Node};

/// Variables and references of one task, or of the group as a whole.
#[derive(Debug, Clone)]
pub(super) struct Environment {
    pub(super) variables: BTreeMap<String, String>,
    node: Node,
}

impl Environment {
    /// Of a group's services: everything but the task's own.
    pub(super) fn of_group(
        allocation: &Allocation,
        group: &Group,
        node: &Node,
        inside: Option<IpAddr>,
    ) -> Self {
        let job = &allocation.job.job;
        let mut variables = BTreeMap::new();
        let mut set = |key: &str, value: &str| {
            variables.insert(format!("NOMAD_{key}"), value.to_owned());
        };
        set("ALLOC_ID", &allocation.id);
        set("SHORT_ALLOC_ID", allocation.id.get(..8).unwrap_or(&allocation.id));
        set("ALLOC_NAME", &allocation.name);
        set("ALLOC_INDEX", &allocation.number().to_string());
        set("GROUP_NAME", &group.name);
        set("JOB_ID", &job.id);
        set("JOB_NAME", &job.name);
        set("DC", &node.datacenter);
        set("REGION", &job.region);
        set("NAMESPACE", &job.namespace);
        if !job.parent_id.is_empty() {
            set("JOB_PARENT_ID", &job.parent_id);
        }
        let is_bridge = group.networks.iter().any(|network| network.is_bridge());
        for port in &allocation.allocated_resources.shared.ports {
            let (label, host) = (&port.label, &port.host_ip);
            let near = if is_bridge { port.to } else { port.value };
            let inside = inside.map_or_else(|| host.clone(), |ip| ip.to_string());
            set(&format!("IP_{label}"), host);
            set(&format!("PORT_{label}"), &near.to_string());
            set(&format!("ADDR_{label}"), &format!("{host}:{}", port.value));
            set(&format!("HOST_IP_{label}"), host);
            set(&format!("HOST_PORT_{label}"), &port.value.to_string());
            set(&format!("HOST_ADDR_{label}"), &format!("{host}:{}", port.value));
            set(&format!("ALLOC_IP_{label}"), &inside);
            set(&format!("ALLOC_PORT_{label}"), &near.to_string());
            set(&format!("ALLOC_ADDR_{label}"), &format!("{inside}:{near}"));
        }
        let layers = [&job.meta, &group.meta];
        for (key, value) in layers.into_iter().flatten() {
            set_meta(&mut variables, key, value);
        }
        Self { variables, node: node.clone() }
    }

    /// Of a task.
    pub(super) fn of_task(
        allocation: &Allocation,
        group: &Group,
        task: &Task,
        node: &Node,
        inside: Option<IpAddr>,
        paths: &TaskPaths,
    ) -> Self {
        let mut environment = Self::of_group(allocation, group, node, inside);
        for (key, value) in meta(&allocation.job.job, group, task) {
            set_meta(&mut environment.variables, &key, &value);
        }
        let seen = |path: &std::path::Path| path.display().to_string();
        let resources = task.resources;
        let own = [
            ("NOMAD_TASK_NAME", task.name.clone()),
            ("NOMAD_ALLOC_DIR", seen(&paths.seen_alloc)),
            ("NOMAD_TASK_DIR", seen(&paths.seen_local)),
            ("NOMAD_SECRETS_DIR", seen(&paths.seen_secrets)),
            ("NOMAD_CPU_LIMIT", resources.cpu.to_string()),
            ("NOMAD_MEMORY_LIMIT", resources.memory_mb.to_string()),
        ];
        environment.variables.extend(own.map(|(key, value)| (key.to_owned(), value)));
        let replaced: Vec<(String, String)> = task
            .env
            .iter()
            .map(|(key, value)| (environment.replace(key), environment.replace(value)))
            .collect();
        environment.variables.extend(replaced);
        environment
    }

    /// Replaces every `${…}` that is known.
    pub(super) fn replace(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            result.push_str(before);
            match after.split_once('}') {
                Some((key, after)) => {
                    match self.value(key.trim()) {
                        Some(value) => result.push_str(&value),
                        None => {
                            result.push_str("${");
                            result.push_str(key);
                            result.push('}');
                        }
                    }
                    rest = after;
                }
                None => {
                    result.push_str("${");
                    rest = after;
                }
            }
        }
        result.push_str(rest);
        result
    }

    fn value(&self, key: &str) -> Option<String> {
        if let Some(value) = self.variables.get(key) {
            return Some(value.clone());
        }
        let named = key.strip_prefix("env[\"").and_then(|rest| rest.strip_suffix("\"]"));
        match named {
            Some(name) => self.variables.get(name).cloned(),
            None => feasible::value(key, &self.node),
        }
    }
}

/// Meta is there under its own name and in capitals.
fn set_meta(variables: &mut BTreeMap<String, String>, key: &str, value: &str) {
    for name in [key.to_owned(), key.to_uppercase().replace('-', "_")] {
        variables.insert(format!("NOMAD_META_{name}"), value.to_owned());
    }
}
