//! Ports and networks.

use std::collections::BTreeMap;

use super::{Case, Found, found};
use crate::lint::job::{Group, Port, Task};
use crate::lint::proxy::flag;
use jobspec::Read;

/// Variables of Nomad that end in a port's label.
const WITH_LABEL: [&str; 6] = [
    "NOMAD_HOST_PORT_",
    "NOMAD_ALLOC_PORT_",
    "NOMAD_PORT_",
    "NOMAD_ADDR_",
    "NOMAD_HOST_IP_",
    "NOMAD_IP_",
];

/// The labels that `${NOMAD_…}` of a text name.
fn labels_in(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    names.filter_map(|name| WITH_LABEL.iter().find_map(|prefix| name.strip_prefix(prefix)))
}

/// The texts of a task in which ports may stand, with their lines.
fn texts(task: &Task) -> impl Iterator<Item = (usize, &str)> {
    let words = task.words.iter().flatten().map(|word| (task.words_line, word.as_str()));
    let env = task.env.values().filter_map(|value| match value {
        Read::Known(text, line) => Some((*line, text.as_str())),
        Read::Absent | Read::Unknown(..) => None,
    });
    words.chain(env)
}

pub(super) fn labels(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.groups() {
        let mut named: Vec<(usize, String)> = Vec::new();
        for service in &group.services {
            let checks = service.checks.iter().map(|check| &check.port);
            for port in std::iter::once(&service.port).chain(checks) {
                if let Read::Known(label, line) = port
                    && label.parse::<u16>().is_err()
                {
                    named.push((*line, label.clone()));
                }
            }
            let metas = std::iter::once(&service.meta).chain(&service.canary_meta);
            for value in metas.flat_map(|meta| meta.keys.values()) {
                if let Read::Known(text, line) = value {
                    named.extend(labels_in(text).map(|label| (*line, label.to_owned())));
                }
            }
        }
        for (line, text) in group.tasks.iter().flat_map(texts) {
            named.extend(labels_in(text).map(|label| (line, label.to_owned())));
        }
        // NOMAD_ADDR_TASK_LABEL names another task's port; those labels end with one of ours.
        let is_known = |label: &str| {
            let own = group.network.iter().flat_map(|network| &network.ports);
            own.into_iter()
                .any(|port| label == port.label || label.ends_with(&format!("_{}", port.label)))
        };
        named.retain(|(_, label)| !is_known(label));
        named.dedup();
        let message = |label| format!("group {:?} has no port {label:?}", group.label);
        all.extend(named.into_iter().map(|(line, label)| found(line, message(label))));
    }
    all
}

pub(super) fn twice(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.groups() {
        for (what, number) in [
            ("static", (|port: &Port| port.fixed.known().copied()) as fn(&Port) -> Option<u64>),
            ("to", |port| port.to.known().copied()),
        ] {
            let mut seen: BTreeMap<u64, &str> = BTreeMap::new();
            for port in group.network.iter().flat_map(|network| &network.ports) {
                let Some(number) = number(port).filter(|number| *number != 0) else { continue };
                if let Some(other) = seen.insert(number, &port.label) {
                    let message =
                        format!("ports {other:?} and {:?} both have {what} = {number}", port.label);
                    all.push(found(port.line, message));
                }
            }
        }
    }
    all
}

pub(super) fn fixed(case: &Case<'_>) -> Vec<Found> {
    if case.job.is("system") || case.job.is("sysbatch") {
        return Vec::new();
    }
    let ports = case.groups().filter_map(|group| group.network.as_ref());
    let fixed = ports.flat_map(|network| &network.ports).filter_map(|port| {
        let number = port.fixed.known()?;
        Some(found(port.line, format!("port {:?} is static: {number}", port.label)))
    });
    fixed.collect()
}

pub(super) fn loopback(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.groups().filter(|group| !group.is_bridge()) {
        if group.network.as_ref().is_some_and(|own| matches!(own.mode, Read::Unknown(..))) {
            continue;
        }
        // One instance on each host may have the host's ports.
        if case.job.is("system") {
            continue;
        }
        for (task, _) in group.proxies().filter(|(_, proxy)| proxy.is_drained) {
            let words: Vec<&str> = task.words.iter().flatten().map(String::as_str).collect();
            let admin = flag(&words, "--admin").unwrap_or_else(|| "9901".to_owned());
            let mut fixed = vec![("--admin", admin)];
            fixed.extend(flag(&words, "--egress").map(|port| ("--egress", port)));
            let app = flag(&words, "--service");
            fixed
                .extend(app.and_then(|own| Some(("--service", own.split(':').nth(1)?.to_owned()))));
            fixed.retain(|(_, port)| port.parse::<u16>().is_ok());
            for (name, port) in fixed {
                let message = format!(
                    "task {:?} takes port {port} of the host's loopback ({name})",
                    task.label
                );
                all.push(found(task.words_line, message));
            }
        }
    }
    all
}

pub(super) fn listen(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.groups().filter(|group| group.is_bridge()) {
        for task in &group.tasks {
            let words: Vec<&str> = task.words.iter().flatten().map(String::as_str).collect();
            let bind = flag(&words, "--bind").into_iter();
            let bind = bind.chain(flag(&words, "--listen")).map(|text| (task.words_line, text));
            let env = task.env.iter().filter_map(|(key, value)| match value {
                Read::Known(text, line) if is_listening(key) => Some((*line, text.clone())),
                _ => None,
            });
            for (line, text) in bind.chain(env).filter(|(_, text)| is_hosts_address(text, group)) {
                let message =
                    format!("task {:?} is to listen on {text}, the host's address", task.label);
                all.push(found(line, message));
            }
        }
    }
    all
}

/// Whether a variable says where to listen.
fn is_listening(key: &str) -> bool {
    let key = key.to_ascii_uppercase();
    ["LISTEN", "BIND", "LISTEN_ADDR", "LISTEN_ADDRESS", "BIND_ADDR", "BIND_ADDRESS"]
        .iter()
        .any(|word| key == *word || key.ends_with(&format!("_{word}")))
}

fn is_hosts_address(text: &str, group: &Group) -> bool {
    let prefixes = ["${NOMAD_ADDR_", "${NOMAD_IP_", "${NOMAD_HOST_IP_", "${NOMAD_HOST_ADDR_"];
    prefixes.iter().any(|prefix| {
        let rest = text.strip_prefix(prefix).and_then(|rest| rest.split('}').next());
        rest.is_some_and(|label| group.port(label).is_some())
    })
}

pub(super) fn docker_host(case: &Case<'_>) -> Vec<Found> {
    let tasks = case.tasks().filter(|(group, task)| {
        let is_host = group.network.as_ref().is_some_and(|network| {
            !network.ports.is_empty()
                && matches!(network.mode.or("host".to_owned()).as_deref(), Some("host"))
        });
        let is_docker = task.driver.known().is_some_and(|driver| driver == "docker");
        let says = task.network_mode.or(String::new());
        is_host && is_docker && says.is_some_and(|mode| mode != "host")
    });
    tasks
        .map(|(_, task)| {
            let message = format!("task {:?} has a network of docker's own", task.label);
            found(task.words_line, message)
        })
        .collect()
}
