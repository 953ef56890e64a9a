//! The resource sets of all kinds of proxies, kept current.
//!
//! In: [`MeshModel`]s, and proxies that subscribe. Out: a `watch` of [`ResourceSet`] for each kind.
//!
//! Proxies that reach the same things share a [`Group`]: its routes, clusters and endpoints are built once. Within a
//! group, proxies with equal ports are one member: its listeners and its applications' clusters.
//! An endpoint that flaps costs one encoding and one small map per group that uses it, whatever the mesh's size.
//!
//! **Invariants**: one owner, no locks; a member's set changes only when its content did; names and bytes depend on
//! the model alone, so that replicas agree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contract::name::{ServiceKey, ServiceName, SystemName};
use contract::node::{NodeMetadata, ProxyRole};
use contract::registration::{Role, Track};
use contract::upstreams::Upstreams;
use tokio::sync::watch;

use crate::catalog::SystemCatalog;
use crate::mesh::{ClusterSpec, Discovery, MeshModel, Target, target};
use crate::xds::build::{self, Dialect};
use crate::xds::cache::group::Group;
use crate::xds::resources::{Encoded, ResourceName, ResourceSet};

pub mod group;
pub mod run;
pub mod type_set;

/// What proxies that reach the same things have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// What they do.
    pub role: ProxyRole,
    /// Their System.
    pub system: Option<SystemName>,
    /// The name they call under: the first service they front, or else `node.cluster`.
    pub caller: String,
    /// What they front.
    pub services: Vec<ServiceName>,
    /// What their bootstrap says they call.
    pub upstreams: Option<Upstreams>,
    /// Whether they call by host name: through an egress listener, or as gRPC clients by themselves.
    pub has_egress: bool,
    /// Whether an application stands behind them.
    pub has_app: bool,
    /// What they understand.
    pub dialect: Dialect,
}

impl GroupKey {
    /// The group of a proxy.
    pub fn of(node: &NodeMetadata, cluster: &str) -> Self {
        let services: Vec<ServiceName> =
            node.services.iter().map(|service| service.name.clone()).collect();
        Self {
            role: node.role,
            system: node.system.clone(),
            caller: services.first().map_or_else(|| cluster.to_owned(), ToString::to_string),
            services,
            upstreams: node.upstreams.clone(),
            has_egress: node.egress.is_some() || node.proxyless,
            has_app: node.services.iter().any(|service| service.app.is_some()),
            dialect: if node.proxyless { Dialect::Grpc } else { Dialect::Envoy },
        }
    }
}

/// Encoded clusters and endpoints that groups share.
#[derive(Debug, Default)]
pub struct SharedResources {
    clusters: BTreeMap<Dialect, BTreeMap<Target, (ClusterSpec, Arc<Encoded>)>>,
    endpoints: BTreeMap<Target, Arc<Encoded>>,
}

impl SharedResources {
    /// The cluster of a target and, if EDS has its addresses, its endpoints.
    fn get(
        &mut self,
        model: &MeshModel,
        target: &Target,
        dialect: Dialect,
    ) -> (Arc<Encoded>, Option<Arc<Encoded>>) {
        let spec = target::cluster_spec(model, target);
        let has_endpoints = spec.discovery == Discovery::Endpoints;
        let clusters = self.clusters.entry(dialect).or_default();
        let cluster = match clusters.get(target) {
            Some((known, encoded)) if *known == spec => encoded.clone(),
            _ => {
                let encoded = match dialect {
                    Dialect::Envoy => build::cluster::cluster(&spec),
                    Dialect::Grpc => build::grpc::cluster(&spec),
                };
                clusters.insert(target.clone(), (spec, encoded.clone()));
                encoded
            }
        };
        let endpoints = has_endpoints.then(|| {
            let build = || build_endpoints(model, target);
            self.endpoints.entry(target.clone()).or_insert_with(build).clone()
        });
        (cluster, endpoints)
    }

    /// Builds a target's endpoints anew; `None` when nobody uses them or they came out the same.
    fn refresh(&mut self, model: &MeshModel, target: &Target) -> Option<Arc<Encoded>> {
        let known = self.endpoints.get_mut(target)?;
        let new = build_endpoints(model, target);
        (known.version != new.version).then(|| {
            *known = new.clone();
            new
        })
    }
}

fn build_endpoints(model: &MeshModel, target: &Target) -> Arc<Encoded> {
    let name: ResourceName = target.to_string().into();
    build::endpoint::assignment(&name, &target::endpoints(model, target))
}

/// Resource sets of every kind of proxy that is connected.
#[derive(Debug)]
pub struct ResourceCache {
    on_demand_above: usize,
    model: Arc<MeshModel>,
    shared: SharedResources,
    groups: BTreeMap<GroupKey, Group>,
}

impl ResourceCache {
    /// An empty one; sidecars that reach more than `on_demand_above` targets ask for clusters as they need them.
    pub fn new(on_demand_above: usize) -> Self {
        Self {
            on_demand_above,
            model: Arc::default(),
            shared: SharedResources::default(),
            groups: BTreeMap::new(),
        }
    }

    /// Follows the mesh to a new model.
    pub fn update(&mut self, model: Arc<MeshModel>) {
        let before = std::mem::replace(&mut self.model, model);
        let model = &self.model;
        let mut endpoints: BTreeMap<ResourceName, Arc<Encoded>> = BTreeMap::new();
        for target in changed_targets(&before, model) {
            if let Some(encoded) = self.shared.refresh(model, &target) {
                endpoints.insert(encoded.name.clone(), encoded);
            }
        }
        let externals_changed = !Arc::ptr_eq(&before.catalog.externals, &model.catalog.externals);
        for (key, group) in &mut self.groups {
            if group.is_outdated(key, model, externals_changed) {
                group.rebuild(key, model, &mut self.shared, self.on_demand_above);
            } else {
                group.replace_endpoints(model.generation, &endpoints);
            }
        }
    }

    /// The resource sets of a proxy, from now on.
    pub fn subscribe(
        &mut self,
        node: &NodeMetadata,
        cluster: &str,
    ) -> watch::Receiver<Arc<ResourceSet>> {
        let key = GroupKey::of(node, cluster);
        let group = self.groups.entry(key.clone()).or_insert_with(|| {
            let mut group = Group::default();
            group.rebuild(&key, &self.model, &mut self.shared, self.on_demand_above);
            group
        });
        group.subscribe(&self.model, node)
    }

    /// Forgets kinds of proxies of which none is connected any more, and what only they used.
    pub fn forget_unused(&mut self) {
        self.groups.retain(|_, group| group.retain_connected());
        let used: BTreeSet<&Target> = self.groups.values().flat_map(Group::targets).collect();
        for clusters in self.shared.clusters.values_mut() {
            clusters.retain(|target, _| used.contains(target));
        }
        self.shared.endpoints.retain(|target, _| used.contains(target));
    }
}

/// Targets whose endpoints may differ, found by comparing pointers.
fn changed_targets(before: &MeshModel, after: &MeshModel) -> BTreeSet<Target> {
    let mut changed = BTreeSet::new();
    let (old_systems, new_systems) = (&before.catalog.systems, &after.catalog.systems);
    for name in old_systems.keys().chain(new_systems.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (old_systems.get(name), new_systems.get(name));
        if !is_same(old, new) {
            changed_in_system(name, old.map(AsRef::as_ref), new.map(AsRef::as_ref), &mut changed);
        }
    }
    if !Arc::ptr_eq(&before.catalog.externals, &after.catalog.externals) {
        let names = before.catalog.externals.keys().chain(after.catalog.externals.keys());
        changed.extend(names.map(|name| Target::External(name.clone())));
    }
    changed
}

fn changed_in_system(
    name: &SystemName,
    old: Option<&SystemCatalog>,
    new: Option<&SystemCatalog>,
    changed: &mut BTreeSet<Target>,
) {
    let both = || [old, new].into_iter().flatten();
    let services: BTreeSet<&ServiceName> =
        both().flat_map(|system| system.instances.keys()).collect();
    for service in services {
        let instances = |system: Option<&'_ SystemCatalog>| {
            system.and_then(|system| system.instances.get(service).cloned())
        };
        let role = |system: Option<&SystemCatalog>| Some(system?.specs.get(service)?.role);
        // The same instances may turn from a service's into a gateway's.
        let roles = [role(old), role(new)];
        if is_same(instances(old).as_ref(), instances(new).as_ref()) && roles[0] == roles[1] {
            continue;
        }
        if roles.contains(&Some(Role::Gateway)) {
            changed.insert(Target::Gateway(name.clone()));
            changed.insert(Target::Ingress(name.clone()));
        }
        let key = ServiceKey { system: name.clone(), name: service.clone() };
        changed.insert(Target::Service(key.clone(), Track::Stable));
        changed.insert(Target::Service(key, Track::Canary));
    }
}

fn is_same<T: ?Sized>(old: Option<&Arc<T>>, new: Option<&Arc<T>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}
