//! What registrations say: the `mesh_…` keys and the service block around them.

use std::collections::BTreeMap;

use contract::name::ServiceName;
use contract::registration::{KEYS, MetaError, Registration, Role};

use super::{Case, Found, found};
use crate::lint::job::{Group, Meta, Service};
use crate::lint::proxy::likely;
use jobspec::Read;

/// Keys that hold a port of the host.
const PORTS: [&str; 3] = ["mesh_stats", "mesh_ingress", "mesh_metrics"];

/// Findings about both blocks of each service of the mesh.
fn of_metas(
    case: &Case<'_>,
    judge: impl Fn(&Group, &Service, &Meta, &'static str) -> Vec<Found>,
) -> Vec<Found> {
    let mut all = Vec::new();
    for (group, service) in case.mesh_services() {
        let [place, canary_place] = service.places();
        all.extend(judge(group, service, &service.meta, place));
        if let Some(canary) = &service.canary_meta {
            all.extend(judge(group, service, canary, canary_place));
        }
    }
    all
}

pub(super) fn missing(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for group in case.groups() {
        let sidecar = group.proxies().find(|(task, proxy)| proxy.is_beside() && task.is_sidecar());
        let Some((task, _)) = sidecar else { continue };
        // One service of the mesh says that the group knows of it; others may stand beside it on purpose.
        if group.mesh_services().next().is_some() {
            continue;
        }
        let says_nothing =
            |service: &&Service| service.stray_meta.is_none() && !service.meta.has_unknown;
        for service in group.services.iter().filter(says_nothing) {
            let message = format!(
                "service {:?} stands behind the Envoy {:?} and is not in the mesh",
                service.called(),
                task.label
            );
            all.push(found(service.line, message));
        }
    }
    all
}

pub(super) fn keys(case: &Case<'_>) -> Vec<Found> {
    of_metas(case, |_, _, meta, block| {
        let unknown = meta
            .keys
            .iter()
            .filter(|(key, _)| key.starts_with("mesh_") && !KEYS.contains(&key.as_str()));
        unknown
            .map(|(key, value)| {
                found(
                    value.line(meta.line),
                    format!("{block} has {key:?}, which is no key of the mesh"),
                )
            })
            .collect()
    })
}

/// The block as the control plane will see it, with likely values for what Nomad fills in; what is unknown is left out,
/// but for the System.
fn expected(meta: &Meta, group: &Group) -> BTreeMap<String, String> {
    let known = meta.keys.iter().filter_map(|(key, value)| match value {
        Read::Known(text, _) => Some((key.clone(), likely(text, group))),
        Read::Unknown(..) if key == "mesh_system" => Some((key.clone(), "unknown".to_owned())),
        Read::Absent | Read::Unknown(..) => None,
    });
    known.collect()
}

pub(super) fn values(case: &Case<'_>) -> Vec<Found> {
    of_metas(case, |group, service, meta, block| {
        match Registration::from_meta(&expected(meta, group)) {
            Ok(Some(_)) => Vec::new(),
            // What canaries alone lack is the rule meta-canary's.
            Ok(None) if block == service.places()[0] && !meta.has_unknown => {
                let message =
                    format!("service {:?} has mesh_ keys but no mesh_system", service.called());
                vec![found(meta.line, message)]
            }
            Ok(None) => Vec::new(),
            Err(error) => {
                let line = meta.keys.get(error.key).map_or(meta.line, |own| own.line(meta.line));
                let MetaError { key, value, reason } = error;
                vec![found(line, format!("{block}: {key} = {value:?}: {reason}"))]
            }
        }
    })
}

pub(super) fn ports(case: &Case<'_>) -> Vec<Found> {
    of_metas(case, |group, _, meta, block| {
        let wrong = PORTS.iter().filter_map(|key| {
            let Some(Read::Known(text, line)) = meta.keys.get(*key) else { return None };
            let is_inside = text.contains("${NOMAD_PORT_") || text.contains("${NOMAD_ALLOC_PORT_");
            (group.is_bridge() && is_inside)
                .then(|| found(*line, format!("{block}: {key} = {text} is the port inside")))
        });
        wrong.collect()
    })
}

pub(super) fn instance(case: &Case<'_>) -> Vec<Found> {
    of_metas(case, |_, _, meta, block| match meta.keys.get("mesh_instance") {
        Some(Read::Known(text, line)) if text != "${NOMAD_ALLOC_ID}" => {
            vec![found(*line, format!("{block}: mesh_instance is {text:?}"))]
        }
        _ => Vec::new(),
    })
}

pub(super) fn stats(case: &Case<'_>) -> Vec<Found> {
    let silent = case.mesh_services().filter(|(_, service)| {
        !service.meta.has_unknown && !service.meta.keys.contains_key("mesh_stats")
    });
    silent
        .map(|(_, service)| {
            found(service.meta.line, format!("service {:?} has no mesh_stats", service.called()))
        })
        .collect()
}

pub(super) fn canary(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for (_, service) in case.mesh_services() {
        let Some(canary) = &service.canary_meta else { continue };
        let [place, canary_place] = service.places();
        for (key, value) in service.meta.keys.iter().filter(|(key, _)| key.starts_with("mesh_")) {
            if key == "mesh_track" {
                continue;
            }
            match (value, canary.keys.get(key)) {
                (_, None) if canary.has_unknown => {}
                (_, None) => all.push(found(canary.line, format!("{canary_place} lacks {key}"))),
                (Read::Known(of_meta, _), Some(Read::Known(of_canary, line)))
                    if of_meta != of_canary =>
                {
                    let message = format!(
                        "{key} is {of_canary:?} in {canary_place} and {of_meta:?} in {place}"
                    );
                    all.push(found(*line, message));
                }
                _ => {}
            }
        }
    }
    all
}

pub(super) fn track(case: &Case<'_>) -> Vec<Found> {
    let mut all = Vec::new();
    for (group, service) in case.mesh_services() {
        let [place, canary_place] = service.places();
        let is_canary = |meta: &Meta| match meta.keys.get("mesh_track") {
            None if meta.has_unknown => None,
            None | Some(Read::Absent) => Some(false),
            Some(Read::Known(track, _)) => Some(track == "canary"),
            Some(Read::Unknown(..)) => None,
        };
        if is_canary(&service.meta) == Some(true) {
            let line = service.meta.keys.get("mesh_track").map_or(service.line, |own| own.line(0));
            let message =
                format!("{place} of service {:?} says mesh_track = canary", service.called());
            all.push(found(line, message));
        }
        let canaries = group.update.as_ref().map_or(Some(0), |update| update.canary.or(0));
        let lacks = match &service.canary_meta {
            None => Some(format!("has canaries and no {canary_place}")),
            Some(meta) if is_canary(meta) == Some(false) => {
                Some(format!("has {canary_place} without mesh_track = canary"))
            }
            Some(_) => None,
        };
        if let Some(lacks) = lacks.filter(|_| canaries != Some(0)) {
            let line = service.canary_meta.as_ref().map_or(service.line, |meta| meta.line);
            all.push(found(line, format!("service {:?} {lacks}", service.called())));
        }
    }
    all
}

/// Findings about whole services of the mesh.
fn of_services(case: &Case<'_>, judge: impl Fn(&Service) -> Option<(usize, String)>) -> Vec<Found> {
    let services = case.mesh_services().filter_map(|(_, service)| judge(service));
    services.map(|(line, message)| found(line, message)).collect()
}

pub(super) fn provider(case: &Case<'_>) -> Vec<Found> {
    let services = case.groups().flat_map(|group| &group.services);
    let stray = services.filter_map(|service| Some((service.stray_meta?, service.called())));
    stray
        .map(|(line, name)| {
            found(
                line,
                format!(
                    "service {name:?} has the provider \"nomad\", and keys of the mesh in meta"
                ),
            )
        })
        .collect()
}

pub(super) fn name(case: &Case<'_>) -> Vec<Found> {
    of_services(case, |service| match &service.name {
        Read::Known(name, line) => {
            // Nomad fills in names of its own, which are labels of the job.
            let filled = name.replace("${NOMAD_", "").replace('}', "").to_ascii_lowercase();
            let text = if name.contains("${") { filled } else { name.clone() };
            text.parse::<ServiceName>().err().map(|error| (*line, error.to_string()))
        }
        Read::Absent => {
            Some((service.line, "a service of the mesh has no name of its own".to_owned()))
        }
        Read::Unknown(..) => None,
    })
}

pub(super) fn of_group(case: &Case<'_>) -> Vec<Found> {
    of_services(case, |service| {
        service
            .is_of_task
            .then(|| (service.line, format!("service {:?} stands in a task", service.called())))
    })
}

pub(super) fn weights(case: &Case<'_>) -> Vec<Found> {
    of_services(case, |service| {
        Some((service.weights?, format!("service {:?} has a weights block", service.called())))
    })
}

pub(super) fn ingress(case: &Case<'_>) -> Vec<Found> {
    of_services(case, |service| {
        let role = service.meta.keys.get("mesh_role").and_then(Read::known);
        let is_gateway = role.is_some_and(|role| role == Role::Gateway.as_str());
        let is_silent =
            !service.meta.has_unknown && !service.meta.keys.contains_key("mesh_ingress");
        (is_gateway && is_silent).then(|| {
            (service.meta.line, format!("gateway {:?} has no mesh_ingress", service.called()))
        })
    })
}
