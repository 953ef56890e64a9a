//! Proxies that reach the same things, and their kinds by ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contract::name::{ServiceName, SystemName};
use contract::node::{NodeMetadata, ProxyRole};
use contract::upstreams::Upstreams;
use tokio::sync::watch;

use crate::mesh::egress::Narrowed;
use crate::mesh::listeners::{TcpListeners, listeners, protocol_of};
use crate::mesh::{
    Caller, Directory, MeshModel, Origin, RouteTable, SystemModel, Target, admission, egress,
    gateway, proxyless, router, target,
};
use crate::xds::build::{self, Dialect};
use crate::xds::cache::{GroupKey, SharedResources, type_set};
use crate::xds::resources::{Encoded, ResourceName, ResourceSet, TypeSet};

/// What a group of proxies shares, and its members.
#[derive(Debug, Default)]
pub struct Group {
    built_from: Option<BuiltFrom>,
    targets: BTreeSet<Target>,
    tcp: TcpListeners,
    clusters: Arc<TypeSet>,
    /// Clusters that a proxy is only sent once a request needs them.
    on_demand: BTreeSet<ResourceName>,
    endpoints: Arc<TypeSet>,
    routes: Arc<TypeSet>,
    /// Those that do not depend on ports: a gRPC client's.
    listeners: BTreeMap<ResourceName, Arc<Encoded>>,
    members: BTreeMap<NodeMetadata, Member>,
}

/// The structure that a group's resources speak of.
#[derive(Debug)]
struct BuiltFrom {
    system: Option<Arc<SystemModel>>,
    directory: Arc<Directory>,
    exposed: Arc<BTreeMap<SystemName, BTreeSet<ServiceName>>>,
}

/// Proxies of a group with equal ports.
#[derive(Debug)]
struct Member {
    set: watch::Sender<Arc<ResourceSet>>,
}

/// What one group reaches, in the mesh's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// HTTP by host name.
    pub tables: Vec<RouteTable>,
    /// TCP by loopback port.
    pub tcp: TcpListeners,
    /// What listeners themselves ask.
    pub issuers: BTreeSet<Target>,
}

/// What the proxies of a group reach.
pub fn reach(model: &MeshModel, key: &GroupKey) -> Reach {
    let system = || key.system.as_ref();
    match key.role {
        ProxyRole::Router => Reach { tables: vec![router::table(model)], ..Reach::default() },
        ProxyRole::Gateway => Reach {
            tables: system().map(|name| gateway_tables(model, key, name)).unwrap_or_default(),
            issuers: system().map(|name| admission::issuers(model, name)).unwrap_or_default(),
            ..Reach::default()
        },
        ProxyRole::Sidecar => {
            let Some(system) = system() else { return Reach::default() };
            let caller = Caller { system: system.clone(), service: key.caller.clone() };
            let narrowed = narrowed(model, key, system);
            let egress = egress::build(model, &caller, narrowed.as_ref());
            match key.dialect {
                Dialect::Grpc => Reach {
                    tables: vec![proxyless::table(model, egress.table)],
                    ..Reach::default()
                },
                Dialect::Envoy => {
                    let tables = if key.has_egress { vec![egress.table] } else { vec![] };
                    Reach { tables, tcp: egress.tcp, ..Reach::default() }
                }
            }
        }
    }
}

fn gateway_tables(model: &MeshModel, key: &GroupKey, name: &SystemName) -> Vec<RouteTable> {
    let app = key.services.first().filter(|_| key.has_app);
    let mut tables =
        vec![gateway::mesh_table(model, name, app), gateway::ingress_table(model, name, app)];
    if key.has_egress {
        tables.push(gateway::application_table(model, name));
    }
    tables
}

/// What a sidecar calls: its bootstrap's word, else the union of its services' registrations.
fn narrowed(model: &MeshModel, key: &GroupKey, system: &SystemName) -> Option<Narrowed> {
    if let Some(upstreams) = key.upstreams.clone() {
        return Some(Narrowed { upstreams, origin: Origin::Bootstrap("upstreams") });
    }
    let model = model.systems.get(system)?;
    let mut registered = key.services.iter().filter_map(|name| model.services.get(name)).peekable();
    let first = registered.peek()?.key.clone();
    let upstreams = Upstreams::union(registered.map(|service| service.upstreams.as_ref()))?;
    Some(Narrowed { upstreams, origin: Origin::Registration(first, "mesh_upstreams") })
}

impl Group {
    /// Whether the structure that it was built from is no longer in force.
    pub fn is_outdated(&self, key: &GroupKey, model: &MeshModel, externals_changed: bool) -> bool {
        let Some(BuiltFrom { system, directory, exposed }) = &self.built_from else { return true };
        let now = key.system.as_ref().and_then(|name| model.systems.get(name));
        let same_system = match (system, now) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        };
        // A gateway's tables speak of its own System alone.
        let same_directory =
            key.role == ProxyRole::Gateway || Arc::ptr_eq(directory, &model.directory);
        // Only gRPC clients know the names that other Systems expose; Envoy has a wildcard for them.
        let same_exposed = key.dialect == Dialect::Envoy || Arc::ptr_eq(exposed, &model.exposed);
        let has_external = || self.targets.iter().any(|t| matches!(t, Target::External(_)));
        !same_system || !same_directory || !same_exposed || (externals_changed && has_external())
    }

    /// Builds everything anew and hands out what came out different.
    ///
    /// Beyond `on_demand_above` targets, Envoys get the clusters of their egress only when a request needs them.
    pub fn rebuild(
        &mut self,
        key: &GroupKey,
        model: &MeshModel,
        shared: &mut SharedResources,
        on_demand_above: usize,
    ) {
        let system = key.system.as_ref().and_then(|name| model.systems.get(name)).cloned();
        let (directory, exposed) = (model.directory.clone(), model.exposed.clone());
        self.built_from = Some(BuiltFrom { system, directory, exposed });
        let reach = reach(model, key);
        self.targets = reach.tables.iter().flat_map(RouteTable::targets).collect();
        // The application beside a proxy has a port of its own at each: its cluster is the member's.
        self.targets.retain(|target| !matches!(target, Target::App(_)));
        self.targets.extend(reach.tcp.values().map(|(target, _)| target.clone()));
        self.targets.extend(reach.issuers);
        self.tcp = reach.tcp;
        let (mut clusters, mut endpoints) = (BTreeMap::new(), BTreeMap::new());
        for target in &self.targets {
            let (cluster, assignment) = shared.get(model, target, key.dialect);
            if let Some(assignment) = assignment {
                endpoints.insert(assignment.name.clone(), assignment);
            }
            clusters.insert(cluster.name.clone(), cluster);
        }
        if key.dialect == Dialect::Grpc {
            let names = reach.tables.iter().flat_map(proxyless::names);
            let listeners = names.map(build::grpc::listener);
            self.listeners = listeners.map(|encoded| (encoded.name.clone(), encoded)).collect();
        }
        let routes = reach.tables.iter().map(build::route::routes);
        let routes = routes.map(|encoded| (encoded.name.clone(), encoded)).collect();
        self.on_demand = self.on_demand(key, on_demand_above);
        let on_demand = self.on_demand.clone();
        self.clusters = type_set::follow_on_demand(&self.clusters, clusters, on_demand);
        self.endpoints = type_set::follow(&self.endpoints, endpoints);
        self.routes = type_set::follow(&self.routes, routes);
        for (node, member) in &self.members {
            let before = member.set.borrow().clone();
            let set = self.member_set(model, node, &before);
            member.publish(&before, set);
        }
    }

    /// What is left to demand: a TCP listener cannot wait for its cluster, nor can a gateway's first request.
    fn on_demand(&self, key: &GroupKey, above: usize) -> BTreeSet<ResourceName> {
        if (key.role, key.dialect) != (ProxyRole::Sidecar, Dialect::Envoy)
            || self.targets.len() <= above
        {
            return BTreeSet::new();
        }
        let tcp: BTreeSet<&Target> = self.tcp.values().map(|(target, _)| target).collect();
        let http = self.targets.iter().filter(|target| !tcp.contains(target));
        http.map(|target| target.to_string().into()).collect()
    }

    /// Hands out endpoints that changed, to those who use them.
    pub fn replace_endpoints(
        &mut self,
        generation: u64,
        new: &BTreeMap<ResourceName, Arc<Encoded>>,
    ) {
        let endpoints = type_set::replace(&self.endpoints, new);
        if Arc::ptr_eq(&endpoints, &self.endpoints) {
            return;
        }
        self.endpoints = endpoints;
        for member in self.members.values() {
            let before = member.set.borrow().clone();
            let endpoints = self.endpoints.clone();
            member.publish(&before, ResourceSet { generation, endpoints, ..(*before).clone() });
        }
    }

    /// The sets of proxies with these ports, from now on.
    pub fn subscribe(
        &mut self,
        model: &MeshModel,
        node: &NodeMetadata,
    ) -> watch::Receiver<Arc<ResourceSet>> {
        if let Some(member) = self.members.get(node) {
            return member.set.subscribe();
        }
        let set = self.member_set(model, node, &ResourceSet::default());
        let (sender, receiver) = watch::channel(Arc::new(set));
        self.members.insert(node.clone(), Member { set: sender });
        receiver
    }

    /// Forgets members without a connected proxy; `false` when none is left.
    pub fn retain_connected(&mut self) -> bool {
        self.members.retain(|_, member| !member.set.is_closed());
        !self.members.is_empty()
    }

    /// What its tables and TCP listeners send to.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter()
    }

    fn member_set(
        &self,
        model: &MeshModel,
        node: &NodeMetadata,
        before: &ResourceSet,
    ) -> ResourceSet {
        let apps: Vec<Arc<Encoded>> = node
            .services
            .iter()
            .filter_map(|service| {
                let protocol = protocol_of(model, node, service);
                let spec = target::app_cluster(&service.name, service.app?, protocol);
                Some(build::cluster::cluster(&spec))
            })
            .collect();
        let clusters = if apps.is_empty() {
            self.clusters.clone()
        } else {
            let mut clusters = self.clusters.resources.clone();
            clusters.extend(apps.into_iter().map(|app| (app.name.clone(), app)));
            type_set::follow_on_demand(&before.clusters, clusters, self.on_demand.clone())
        };
        let certificates = node.tls.iter().flat_map(|tls| &tls.certificates);
        let secrets = certificates.map(build::tls::secret);
        let secrets = secrets.map(|secret| (secret.name.clone(), secret)).collect();
        let listeners = listeners(model, node, &self.tcp);
        let waits = !self.on_demand.is_empty();
        let listeners = listeners.iter().map(|view| build::listener::listener(view, waits));
        let listeners = listeners.map(|listener| (listener.name.clone(), listener));
        let shared = self.listeners.iter().map(|(name, encoded)| (name.clone(), encoded.clone()));
        let listeners = listeners.chain(shared).collect();
        ResourceSet {
            generation: model.generation,
            clusters,
            endpoints: self.endpoints.clone(),
            secrets: type_set::follow(&before.secrets, secrets),
            listeners: type_set::follow(&before.listeners, listeners),
            routes: self.routes.clone(),
        }
    }
}

impl Member {
    /// Wakes the member's streams if anything but the generation differs.
    fn publish(&self, before: &ResourceSet, set: ResourceSet) {
        let is_same = Arc::ptr_eq(&before.clusters, &set.clusters)
            && Arc::ptr_eq(&before.endpoints, &set.endpoints)
            && Arc::ptr_eq(&before.listeners, &set.listeners)
            && Arc::ptr_eq(&before.routes, &set.routes)
            && Arc::ptr_eq(&before.secrets, &set.secrets);
        if !is_same {
            self.set.send_replace(Arc::new(set));
        }
    }
}
