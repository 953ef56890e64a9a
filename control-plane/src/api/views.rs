//! Snapshots and models as the API shows them.

use std::time::Duration;

use contract::api::{InstanceView, ProxyView, ServiceView, SourceView, Status, SystemView};

use crate::api::seconds;
use crate::catalog::run::CatalogState;
use crate::catalog::{Instance, ServiceSpec};
use crate::mesh::{MeshModel, SystemModel, listing};
use crate::xds::server::ConnectedProxy;
use crate::xds::stream::TypeStatus;

/// One control plane at a glance.
pub(super) fn status(state: &CatalogState, uptime: Duration, proxies: usize) -> Status {
    let now_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: state.readiness.is_ready(),
        reason: state.readiness.reason().map(str::to_owned),
        generation: state.snapshot.generation,
        sources: state
            .snapshot
            .sources
            .iter()
            .map(|(name, source)| SourceView {
                name: (*name).to_owned(),
                stale_seconds: source.failing.as_ref().map(|f| now_ms.saturating_sub(f.1) / 1_000),
                error: source.failing.as_ref().map(|failing| failing.0.clone()),
            })
            .collect(),
        proxies,
    }
}

/// A System.
pub(super) fn system(model: &MeshModel, system: &SystemModel) -> SystemView {
    let document = system.document.as_ref();
    let catalog = model.catalog.systems.get(&system.name);
    SystemView {
        name: system.name.clone(),
        services: catalog.map(|c| c.specs.keys().cloned().collect()).unwrap_or_default(),
        has_gateway: system.has_gateway,
        has_document: document.is_some(),
        hosts: document.map(|d| d.hosts.iter().map(|h| h.0.clone()).collect()).unwrap_or_default(),
        callers: document.and_then(|document| document.callers.clone()),
        routes: listing::route_views(system),
    }
}

/// A service and its instances.
pub(super) fn service(spec: &ServiceSpec, instances: &[Instance]) -> ServiceView {
    ServiceView {
        key: spec.key.clone(),
        role: spec.role,
        protocol: spec.protocol,
        path: spec.path.clone(),
        upstreams: spec.upstreams.as_ref().map(ToString::to_string),
        instances: instances
            .iter()
            .map(|instance| InstanceView {
                id: instance.id.clone(),
                address: std::net::SocketAddr::new(instance.address, instance.port).to_string(),
                health: instance.health.as_str().to_owned(),
                weight: instance.weight,
                track: instance.track,
                instance: instance.allocation.clone(),
                node: instance.node.clone(),
            })
            .collect(),
    }
}

/// A connected proxy.
pub(super) fn proxy(proxy: &ConnectedProxy, types: Vec<TypeStatus>) -> ProxyView {
    let node = &proxy.node;
    ProxyView {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        system: node.metadata.system.clone(),
        role: node.metadata.role,
        services: node.metadata.services.iter().map(|service| service.name.clone()).collect(),
        agent: node.agent.clone(),
        peer: node.peer.map(|peer| peer.to_string()).unwrap_or_default(),
        mode: node.mode.as_str().to_owned(),
        connected_seconds: seconds(proxy.since.elapsed()),
        types: types.iter().filter(|kind| kind.is_asked).map(TypeStatus::view).collect(),
    }
}
