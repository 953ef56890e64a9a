//! Whether every connected proxy that must know of some allocations does.
//!
//! Judged by content: a proxy has converged when it ACKed the very bytes that the newest model gives for the service's
//! endpoints, not merely everything that its stream was handed so far. Who has not asked for the service's cluster has
//! nothing that could be old: a sidecar that gets clusters on demand, a gRPC client that calls other services.

use std::collections::BTreeSet;

use contract::api::{Convergence, WaitingProxy};
use contract::name::ServiceKey;
use contract::registration::{Role, Track};

use crate::catalog::{Health, Instance};
use crate::mesh::{MeshModel, Target, target};
use crate::xds::build::endpoint::assignment;
use crate::xds::resources::{ResourceName, ResourceType, Version};
use crate::xds::server::{ConnectedProxy, NoStatus};
use crate::xds::stream::{ResourceState, StreamStatus};

/// A connected proxy and what its stream says.
pub(super) type Asked = (ConnectedProxy, Result<StreamStatus, NoStatus>);

/// What is asked about a service's allocations, by id.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Are registered.
    pub(super) present: Vec<String>,
    /// Are not registered any more.
    pub(super) absent: Vec<String>,
    /// Are registered, healthy, and take ordinary requests.
    pub(super) stable: Vec<String>,
    /// Are registered, healthy, and take what the document gives canaries.
    pub(super) canary: Vec<String>,
}

/// Judges all proxies for one service.
pub(super) fn judge(
    model: &MeshModel,
    key: &ServiceKey,
    allocations: &Expected,
    asked: &[Asked],
) -> Convergence {
    let expected = expected(model, key);
    let mut dependents = 0;
    let mut waiting = Vec::new();
    for (proxy, status) in asked {
        let Some(resources) = lacks(status, &expected) else { continue };
        dependents += 1;
        if !resources.is_empty() {
            waiting.push(WaitingProxy { id: proxy.node.id.clone(), resources });
        }
    }
    let catalog_lacks = catalog_lacks(target::instances_of(model, key), allocations);
    Convergence {
        converged: waiting.is_empty() && catalog_lacks.is_empty(),
        generation: model.generation,
        dependents,
        waiting,
        catalog_lacks,
        unconnected: unconnected(model, asked),
    }
}

/// The service's endpoint resources as they must be.
fn expected(model: &MeshModel, key: &ServiceKey) -> Vec<(ResourceName, Version)> {
    let role = model.catalog.systems.get(&key.system).and_then(|s| s.specs.get(&key.name));
    let targets = match role.map(|spec| spec.role) {
        Some(Role::Gateway) => {
            vec![Target::Gateway(key.system.clone()), Target::Ingress(key.system.clone())]
        }
        _ => vec![
            Target::Service(key.clone(), Track::Stable),
            Target::Service(key.clone(), Track::Canary),
        ],
    };
    let version = |target: Target| {
        let name: ResourceName = target.to_string().into();
        let encoded = assignment(&name, &target::endpoints(model, &target));
        (name, encoded.version)
    };
    targets.into_iter().map(version).collect()
}

/// What a proxy lacks; `None` when it does not depend on the service.
fn lacks(
    status: &Result<StreamStatus, NoStatus>,
    expected: &[(ResourceName, Version)],
) -> Option<Vec<String>> {
    let status = match status {
        Ok(status) => status,
        Err(NoStatus::NotConnected) => return None,
        Err(NoStatus::Stalled) => return Some(vec!["its stream does not answer".to_owned()]),
    };
    let unasked = unasked_clusters(status);
    let mut depends = false;
    let mut lacks = Vec::new();
    for kind in &status.types {
        for resource in &kind.resources {
            let wanted =
                expected.iter().find(|(name, _)| *name == resource.name && !unasked.contains(name));
            let is_known = match (kind.kind, wanted) {
                (ResourceType::Endpoints, Some((_, version))) => {
                    depends = true;
                    resource.state == ResourceState::Acked && resource.version == *version
                }
                (ResourceType::Cluster, Some(_)) | (ResourceType::Routes, _) => {
                    matches!(resource.state, ResourceState::Acked | ResourceState::Unasked)
                }
                _ => true,
            };
            if !is_known {
                lacks.push(format!(
                    "{} {} ({})",
                    kind.kind.as_str(),
                    resource.name,
                    resource.state.as_str()
                ));
            }
        }
    }
    depends.then_some(lacks)
}

/// Clusters that a proxy could have and did not ask for; none while it has not asked for any.
fn unasked_clusters(status: &StreamStatus) -> BTreeSet<&ResourceName> {
    let clusters =
        status.types.iter().filter(|kind| kind.kind == ResourceType::Cluster && kind.is_asked);
    let each = clusters.flat_map(|kind| &kind.resources);
    let unasked = each.filter(|resource| resource.state == ResourceState::Unasked);
    unasked.map(|resource| &resource.name).collect()
}

/// What of the expected the registrations do not say.
fn catalog_lacks(instances: &[Instance], expected: &Expected) -> Vec<String> {
    let of = |id: &str| instances.iter().find(|one| one.allocation.as_deref() == Some(id));
    let missing = |id: &String| of(id).is_none().then(|| format!("{id} is not registered"));
    let lingering = |id: &String| of(id).map(|_| format!("{id} is still registered"));
    let takes = |id: &String, track: Track| match of(id) {
        None => Some(format!("{id} is not registered")),
        Some(one) if one.track != track => {
            Some(format!("{id} is registered as {}, not as {track}", one.track))
        }
        Some(one) if one.health != Health::Healthy => {
            Some(format!("{id} is {}", one.health.as_str()))
        }
        Some(_) => None,
    };
    let Expected { present, absent, stable, canary } = expected;
    present
        .iter()
        .filter_map(missing)
        .chain(absent.iter().filter_map(lingering))
        .chain(stable.iter().filter_map(|id| takes(id, Track::Stable)))
        .chain(canary.iter().filter_map(|id| takes(id, Track::Canary)))
        .collect()
}

/// Registered allocations whose proxy is not connected to this replica.
fn unconnected(model: &MeshModel, asked: &[Asked]) -> Vec<String> {
    let connected: BTreeSet<&str> = asked.iter().map(|(proxy, _)| proxy.node.id.as_str()).collect();
    let registered: BTreeSet<&String> = model
        .catalog
        .services()
        .flat_map(|(_, instances)| instances.iter())
        .filter_map(|instance| instance.allocation.as_ref())
        .collect();
    registered.into_iter().filter(|id| !connected.contains(id.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xds::stream::{ResourceStatus, TypeStatus};

    fn instances() -> Vec<Instance> {
        let one = |id: &str, track, health| Instance {
            address: [10, 0, 0, 1].into(),
            port: 80,
            id: format!("_nomad-task-{id}"),
            ingress: None,
            track,
            health,
            weight: 1,
            allocation: Some(id.to_owned()),
            node: "host-1".to_owned(),
        };
        vec![
            one("old", Track::Stable, Health::Healthy),
            one("sick", Track::Stable, Health::Unhealthy),
            one("new", Track::Canary, Health::Healthy),
        ]
    }

    /// A proxy whose cluster and endpoints of `orders` stand so; `None` for the cluster: it has asked for none.
    fn proxy(cluster: Option<ResourceState>, endpoints: ResourceState) -> StreamStatus {
        let of = |kind, is_asked, state| TypeStatus {
            kind,
            is_asked,
            version: Version::of(b""),
            resources: vec![ResourceStatus {
                kind,
                name: "orders".into(),
                version: Version::of(b"new"),
                bytes: 1,
                state,
            }],
        };
        let is_asked = cluster.is_some();
        let cluster = cluster.unwrap_or(ResourceState::Unasked);
        StreamStatus {
            types: vec![
                of(ResourceType::Cluster, is_asked, cluster),
                of(ResourceType::Endpoints, true, endpoints),
            ],
        }
    }

    fn lacking(status: StreamStatus) -> Option<Vec<String>> {
        lacks(&Ok(status), &[("orders".into(), Version::of(b"new"))])
    }

    #[test]
    fn who_has_not_asked_for_the_cluster_holds_up_nobody_and_who_has_must_have_its_endpoints() {
        use ResourceState::{Acked, Pending, Unasked};
        let endpoints = |state: &str| Some(vec![format!("endpoints orders ({state})")]);
        assert_eq!(lacking(proxy(Some(Unasked), Unasked)), None, "on demand, and nobody asked");
        assert_eq!(lacking(proxy(Some(Acked), Acked)), Some(Vec::new()));
        assert_eq!(lacking(proxy(Some(Acked), Pending)), endpoints("pending"));
        assert_eq!(lacking(proxy(Some(Acked), Unasked)), endpoints("unasked"), "about to ask");
        assert_eq!(lacking(proxy(None, Unasked)), endpoints("unasked"), "it has just connected");
    }

    fn ids(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn before_a_switch_the_new_ones_are_asked_for_as_canaries_and_after_it_as_stable() {
        let before =
            Expected { canary: ids(&["new"]), stable: ids(&["old"]), ..Expected::default() };
        assert_eq!(catalog_lacks(&instances(), &before), Vec::<String>::new());
        let after = Expected {
            stable: ids(&["new"]),
            absent: ids(&["old", "gone"]),
            ..Expected::default()
        };
        assert_eq!(
            catalog_lacks(&instances(), &after),
            ["old is still registered", "new is registered as canary, not as stable"]
        );
    }

    #[test]
    fn whoever_takes_requests_must_be_registered_and_healthy() {
        let asked = Expected {
            present: ids(&["sick", "gone"]),
            stable: ids(&["sick", "gone"]),
            ..Expected::default()
        };
        assert_eq!(
            catalog_lacks(&instances(), &asked),
            ["gone is not registered", "sick is unhealthy", "gone is not registered"]
        );
    }
}
