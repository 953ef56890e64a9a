//! Registrations of one Consul name → services of the mesh, external instances, and named rejects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use contract::api::Problem;
use contract::name::{ServiceKey, ServiceName};
use contract::registration::{Registration, Role, Track, nomad_allocation};
use contract::upstreams::Upstreams;

use crate::catalog::health::health_and_weight;
use crate::catalog::{ExternalInstance, Instance, ServiceSpec};
use crate::registry::RegisteredInstance;

/// What the registrations of one Consul name come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ParsedName {
    /// Services of the mesh: one for each System that the registrations name.
    pub services: BTreeMap<ServiceKey, (ServiceSpec, Vec<Instance>)>,
    /// Registrations outside the mesh.
    pub externals: Vec<ExternalInstance>,
    /// What was rejected, and what instances disagree about.
    pub problems: Vec<Problem>,
}

/// Parses the registrations of one Consul name. A bad one is rejected alone.
pub fn parse_name(name: &str, registrations: &[RegisteredInstance]) -> ParsedName {
    let mut parsed = ParsedName::default();
    let mut members: BTreeMap<ServiceKey, Vec<(Registration, Instance)>> = BTreeMap::new();
    for raw in registrations {
        match parse_registration(name, raw) {
            Ok(Parsed::Mesh(key, registration, instance)) => {
                members.entry(key).or_default().push((*registration, instance));
            }
            Ok(Parsed::External(instance)) => parsed.externals.push(instance),
            Err(reason) => parsed.problems.push(Problem {
                subject: format!("registration {}", raw.id),
                reason: format!(
                    "{reason}; it gets no traffic, other instances of {name} are served"
                ),
            }),
        }
    }
    for (key, members) in members {
        let spec = merge_spec(&key, &members, &mut parsed.problems);
        let instances = unique_addresses(members, &mut parsed.problems);
        parsed.services.insert(key, (spec, instances));
    }
    parsed.externals.sort();
    parsed.externals.dedup_by(|a, b| a.address == b.address && a.port == b.port);
    parsed.problems.sort();
    parsed
}

enum Parsed {
    Mesh(ServiceKey, Box<Registration>, Instance),
    External(ExternalInstance),
}

fn parse_registration(name: &str, raw: &RegisteredInstance) -> Result<Parsed, String> {
    let registration = Registration::from_meta(&raw.meta).map_err(|error| error.to_string())?;
    if raw.port == 0 {
        return match registration {
            Some(_) => Err("it has no port".to_owned()),
            None => Err("it is outside the mesh and has no port".to_owned()),
        };
    }
    let (health, weight) =
        health_and_weight(raw, registration.as_ref().and_then(|registration| registration.weight));
    let Some(registration) = registration else {
        return Ok(Parsed::External(ExternalInstance {
            address: raw.address.clone(),
            port: raw.port,
            id: raw.id.clone(),
            health,
            weight,
        }));
    };
    let address: IpAddr = raw.address.parse().map_err(|_| {
        format!(
            "its address {:?} is not an IP: a mesh instance registers the address of its sidecar",
            raw.address
        )
    })?;
    let service: ServiceName = name.parse().map_err(|error| format!("service name {error}"))?;
    let key = ServiceKey { system: registration.system.clone(), name: service };
    let allocation = registration.instance.clone().or_else(|| nomad_allocation(&raw.id));
    let instance = Instance {
        address,
        port: raw.port,
        id: raw.id.clone(),
        ingress: registration.ingress,
        track: registration.track,
        health,
        weight,
        allocation,
        node: raw.node.clone(),
    };
    Ok(Parsed::Mesh(key, Box::new(registration), instance))
}

/// What a service is, when its instances may disagree (a rolling update that changes meta).
///
/// Values are those of most stable instances, the smaller one on a tie, so that replicas agree; what a service calls
/// is the union, so that a new instance finds what it needs from its first moment.
fn merge_spec(
    key: &ServiceKey,
    members: &[(Registration, Instance)],
    problems: &mut Vec<Problem>,
) -> ServiceSpec {
    let has_stable = members.iter().any(|(_, instance)| instance.track == Track::Stable);
    let voters: Vec<&Registration> = members
        .iter()
        .filter(|(_, instance)| !has_stable || instance.track == Track::Stable)
        .map(|(registration, _)| registration)
        .collect();
    let mut disagree = |what: &str, values: usize| {
        if values > 1 {
            problems.push(Problem {
                subject: format!("service {key}"),
                reason: format!(
                    "its instances disagree about {what}; the value of most is in force"
                ),
            });
        }
    };
    let (role, roles) = majority(voters.iter().map(|r| r.role));
    let (protocol, protocols) = majority(voters.iter().map(|r| r.protocol));
    let (path, paths) = majority(voters.iter().map(|r| r.path.clone()));
    disagree("mesh_role", roles);
    disagree("mesh_protocol", protocols);
    disagree("mesh_path", paths);
    ServiceSpec {
        key: key.clone(),
        role: role.unwrap_or_default(),
        protocol: protocol.unwrap_or_default(),
        path: path.flatten(),
        upstreams: Upstreams::union(members.iter().map(|(r, _)| r.upstreams.as_ref())),
        has_canary: members.iter().any(|(_, instance)| instance.track == Track::Canary),
        has_ingress: role == Some(Role::Gateway)
            && members.iter().any(|(_, instance)| instance.ingress.is_some()),
    }
}

/// The value held by most, the smallest on a tie, and how many different ones there are.
fn majority<T: Ord + Clone>(values: impl Iterator<Item = T>) -> (Option<T>, usize) {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let winner = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
    (winner.map(|(value, _)| value.clone()), counts.len())
}

/// Sorted instances, one for each address: a left-over registration must not double an instance's share.
fn unique_addresses(
    members: Vec<(Registration, Instance)>,
    problems: &mut Vec<Problem>,
) -> Vec<Instance> {
    let mut instances: Vec<Instance> = members.into_iter().map(|(_, instance)| instance).collect();
    instances.sort_by(|a, b| {
        (a.address, a.port, a.health, &a.id).cmp(&(b.address, b.port, b.health, &b.id))
    });
    let mut seen = BTreeSet::new();
    instances.retain(|instance| {
        let is_new = seen.insert((instance.address, instance.port));
        if !is_new {
            problems.push(Problem {
                subject: format!("registration {}", instance.id),
                reason: format!(
                    "{}:{} is registered twice; the healthier registration is in force",
                    instance.address, instance.port
                ),
            });
        }
        is_new
    });
    instances
}

/// The instances as the snapshot holds them.
pub fn shared(instances: Vec<Instance>) -> Arc<[Instance]> {
    instances.into()
}
