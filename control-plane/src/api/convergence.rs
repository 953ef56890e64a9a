//! Whether every connected proxy that must know of some allocations does.
//!
//! Judged by content: a proxy has converged when it ACKed the very bytes that the newest model gives for the service's
//! endpoints, not merely everything that its stream was handed so far.

use std::collections::BTreeSet;

use contract::api::{Convergence, WaitingProxy};
use contract::name::ServiceKey;
use contract::registration::{Role, Track};

use crate::catalog::Instance;
use crate::mesh::{MeshModel, Target, target};
use crate::xds::build::endpoint::assignment;
use crate::xds::resources::{ResourceName, ResourceType, Version};
use crate::xds::server::{ConnectedProxy, NoStatus};
use crate::xds::stream::{ResourceState, StreamStatus};

/// A connected proxy and what its stream says.
pub(super) type Asked = (ConnectedProxy, Result<StreamStatus, NoStatus>);

/// Judges all proxies for one service.
pub(super) fn judge(
    model: &MeshModel,
    key: &ServiceKey,
    present: &[String],
    absent: &[String],
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
    let catalog_lacks = catalog_lacks(model, key, present, absent);
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
    let mut depends = false;
    let mut lacks = Vec::new();
    for kind in &status.types {
        for resource in &kind.resources {
            let wanted = expected.iter().find(|(name, _)| *name == resource.name);
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

fn catalog_lacks(
    model: &MeshModel,
    key: &ServiceKey,
    present: &[String],
    absent: &[String],
) -> Vec<String> {
    let instances: &[Instance] = model
        .catalog
        .systems
        .get(&key.system)
        .and_then(|system| system.instances.get(&key.name))
        .map_or(&[], |instances| instances);
    let has =
        |id: &String| instances.iter().any(|instance| instance.allocation.as_ref() == Some(id));
    let missing = present.iter().filter(|id| !has(id)).map(|id| format!("{id} is not registered"));
    let lingering =
        absent.iter().filter(|id| has(id)).map(|id| format!("{id} is still registered"));
    missing.chain(lingering).collect()
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
