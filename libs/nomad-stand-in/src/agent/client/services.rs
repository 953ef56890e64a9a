//! Registrations of an allocation: in Consul as Nomad writes them, or among Nomad's own services.
//!
//! In: the allocation, its services, its environment. Out: the bodies, by id. Until it is promoted, a canary has `canary_tags`
//! and `canary_meta` in place of tags and meta. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::environment::Environment;
use crate::agent::job::{Check, Group, Service, Task};
use crate::agent::state::{Allocation, ServiceRegistration};
use crate::agent::time::go_duration;

/// A service of an allocation, ready to be registered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Registration {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) tags: Vec<String>,
    pub(super) is_consul: bool,
    /// For Consul.
    pub(super) body: Value,
    /// With the address each one asks.
    pub(super) checks: Vec<(Check, String, u16)>,
}

/// Everything that an allocation registers.
pub(super) fn of(
    allocation: &Allocation,
    group: &Group,
    environment: &Environment,
) -> Vec<Registration> {
    group
        .all_services()
        .map(|(task, service)| registration(allocation, task, service, environment))
        .collect()
}

fn registration(
    allocation: &Allocation,
    task: Option<&Task>,
    service: &Service,
    environment: &Environment,
) -> Registration {
    let name = environment.replace(&service.name);
    let owner = match task {
        Some(task) => task.name.clone(),
        None => format!("group-{}", allocation.task_group),
    };
    let id = format!("_nomad-task-{}-{owner}-{name}-{}", allocation.id, service.port_label);
    let is_canary = allocation.is_canary();
    let tags = if is_canary && !service.canary_tags.is_empty() {
        &service.canary_tags
    } else {
        &service.tags
    };
    let tags: Vec<String> = tags.iter().map(|tag| environment.replace(tag)).collect();
    let meta = if is_canary && !service.canary_meta.is_empty() {
        &service.canary_meta
    } else {
        &service.meta
    };
    let mut meta: BTreeMap<String, String> = meta
        .iter()
        .map(|(key, value)| (environment.replace(key), environment.replace(value)))
        .collect();
    meta.insert("external-source".to_owned(), "nomad".to_owned());
    let is_inside = matches!(service.address_mode.as_str(), "alloc" | "driver");
    let (address, port) = target(&service.port_label, is_inside, environment, allocation);
    let address =
        if service.address.is_empty() { address } else { environment.replace(&service.address) };
    let checks: Vec<(Check, String, u16)> = service
        .checks
        .iter()
        .filter(|check| check.kind != "script")
        .map(|check| {
            let label =
                if check.port_label.is_empty() { &service.port_label } else { &check.port_label };
            let (address, port) = target(label, is_inside, environment, allocation);
            (check.clone(), address, port)
        })
        .collect();
    let weights = service.weights.map_or((1, 1), |weights| (weights.passing, weights.warning));
    let bodies: Vec<Value> = checks
        .iter()
        .map(|(check, address, port)| consul_check(&id, check, address, *port))
        .collect();
    let tagged = json!({"Address": address, "Port": port});
    let body = json!({
        "ID": id, "Name": name, "Address": address, "Port": port, "Tags": tags, "Meta": meta, "Checks": bodies,
        "Weights": {"Passing": weights.0, "Warning": weights.1},
        "TaggedAddresses": {"lan_ipv4": tagged, "wan_ipv4": tagged},
    });
    Registration {
        id,
        name,
        address,
        port,
        tags,
        is_consul: service.provider != "nomad",
        body,
        checks,
    }
}

/// Address and port of a label: the host's, or the ones inside the group's network.
fn target(
    label: &str,
    is_inside: bool,
    environment: &Environment,
    allocation: &Allocation,
) -> (String, u16) {
    let host = || {
        let ports = &allocation.allocated_resources.shared.ports;
        let networks = &allocation.allocated_resources.shared.networks;
        let listed = networks.iter().find_map(|network| network.get("IP")?.as_str());
        ports
            .first()
            .map(|port| port.host_ip.clone())
            .or(listed.map(str::to_owned))
            .unwrap_or_default()
    };
    let (address, port) =
        if is_inside { ("ALLOC_IP", "ALLOC_PORT") } else { ("HOST_IP", "HOST_PORT") };
    let value = |key: &str| environment.variables.get(&format!("NOMAD_{key}_{label}")).cloned();
    let port = value(port).unwrap_or_else(|| label.to_owned()).parse().unwrap_or_default();
    (value(address).unwrap_or_else(host), port)
}

fn consul_check(service: &str, check: &Check, address: &str, port: u16) -> Value {
    let mut body = Map::new();
    let mut set = |key: &str, value: Value| body.insert(key.to_owned(), value);
    let digest = Sha256::digest(format!("{service} {} {} {}", check.name, check.kind, check.path));
    let hash: String = digest.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
    set("CheckID", json!(format!("_nomad-check-{hash}")));
    set("Name", json!(check.name));
    set("Interval", json!(go_duration(check.interval)));
    set("Timeout", json!(go_duration(check.timeout)));
    match check.kind.as_str() {
        "http" => {
            let protocol = if check.protocol.is_empty() { "http" } else { &check.protocol };
            set("HTTP", json!(format!("{protocol}://{address}:{port}{}", check.path)));
            if !check.method.is_empty() {
                set("Method", json!(check.method));
            }
            if !check.header.is_empty() {
                set("Header", json!(check.header));
            }
        }
        "grpc" => {
            let service = if check.grpc_service.is_empty() {
                String::new()
            } else {
                format!("/{}", check.grpc_service)
            };
            set("GRPC", json!(format!("{address}:{port}{service}")));
        }
        _ => {
            set("TCP", json!(format!("{address}:{port}")));
        }
    }
    if !check.initial_status.is_empty() {
        set("Status", json!(check.initial_status));
    }
    if check.success_before_passing > 0 {
        set("SuccessBeforePassing", json!(check.success_before_passing));
    }
    if check.failures_before_critical > 0 {
        set("FailuresBeforeCritical", json!(check.failures_before_critical));
    }
    Value::Object(body)
}

/// Nomad's own registration of it.
pub(super) fn nomad(
    allocation: &Allocation,
    datacenter: &str,
    one: &Registration,
) -> ServiceRegistration {
    ServiceRegistration {
        id: one.id.clone(),
        service_name: one.name.clone(),
        namespace: allocation.namespace.clone(),
        node_id: allocation.node_id.clone(),
        datacenter: datacenter.to_owned(),
        job_id: allocation.job_id.clone(),
        alloc_id: allocation.id.clone(),
        tags: one.tags.clone(),
        address: one.address.clone(),
        port: one.port,
        create_index: 0,
        modify_index: 0,
    }
}

/// Whether all checks of these services allow the allocation to be healthy, given the state of each as `(name, status)`.
pub(super) fn pass(registrations: &[Registration], states: &super::consul::States) -> bool {
    registrations.iter().all(|one| {
        one.checks.iter().all(|(check, ..)| {
            let state =
                states.get(&one.id).into_iter().flatten().find(|(name, _)| *name == check.name);
            let state = state.map(|(_, state)| state.as_str());
            match check.on_update.as_str() {
                "ignore" => true,
                "ignore_warnings" => matches!(state, Some("passing" | "warning" | "success")),
                _ => matches!(state, Some("passing" | "success")),
            }
        })
    })
}
