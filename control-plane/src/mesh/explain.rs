//! What a proxy gets, and why: the same values that the resources are built from, for people.

use std::collections::BTreeSet;

use contract::api::{ExplainedItem, Problem};
use contract::name::SystemName;
use contract::node::{NodeMetadata, NodeService};

use crate::mesh::listeners::{TcpListeners, listeners, protocol_of};
use crate::mesh::{
    Discovery, ListenerKind, MeshModel, Origin, RouteRule, RouteTable, Target, Transport, target,
    words,
};

/// Everything a proxy gets, in the order in which a request meets it.
pub fn items(
    model: &MeshModel,
    node: &NodeMetadata,
    tables: &[RouteTable],
    tcp: &TcpListeners,
    issuers: &BTreeSet<Target>,
) -> Vec<ExplainedItem> {
    let mut items: Vec<ExplainedItem> = listeners(model, node, tcp)
        .into_iter()
        .map(|listener| ExplainedItem {
            kind: "listener".into(),
            what: format!(
                "{} {}{}",
                listener.address,
                listener_kind(&listener.kind),
                if listener.is_traced { ", spans to the host's agent" } else { "" }
            ),
            name: listener.name,
            because: listener.origin.to_string(),
        })
        .collect();
    for table in tables {
        items.extend(routes(table));
    }
    items.extend(node.services.iter().filter_map(|service| app(model, node, service)));
    let mut targets: BTreeSet<Target> = tables.iter().flat_map(RouteTable::targets).collect();
    targets.extend(tcp.values().map(|(target, _)| target.clone()));
    targets.extend(issuers.iter().cloned());
    for target in &targets {
        items.push(cluster(model, target, node.proxyless));
        items.extend(endpoints(model, target));
    }
    items
}

/// What concerns a proxy's System, and names it.
pub fn problems(model: &MeshModel, system: Option<&SystemName>) -> Vec<Problem> {
    let own = system.and_then(|name| model.systems.get(name));
    let mut problems: Vec<Problem> = own.map(|system| system.problems.clone()).unwrap_or_default();
    problems.extend(model.directory.problems.iter().cloned());
    problems.sort();
    problems
}

/// Every problem of the model: rejects, held answers, conflicts.
pub fn all_problems(model: &MeshModel) -> Vec<Problem> {
    let mut problems: Vec<Problem> = model.catalog.problems.as_ref().clone();
    problems.extend(model.systems.values().flat_map(|system| system.problems.iter().cloned()));
    problems.extend(model.directory.problems.iter().cloned());
    problems.sort();
    problems.dedup();
    problems
}

fn routes(table: &RouteTable) -> Vec<ExplainedItem> {
    let rule = |host: &str, rule: &RouteRule| ExplainedItem {
        kind: "route".into(),
        name: format!("{} {host} {}", table.name, words::requests(&rule.requests)),
        what: words::rule(rule),
        because: rule.origin.to_string(),
    };
    table
        .hosts
        .iter()
        .flat_map(|host| {
            let domains = host.domains.join(", ");
            host.routes.iter().map(move |route| rule(&domains, route)).collect::<Vec<_>>()
        })
        .collect()
}

fn listener_kind(kind: &ListenerKind) -> String {
    match kind {
        ListenerKind::Inbound { service, protocol } => {
            format!("brings {protocol} to the application {service}")
        }
        ListenerKind::Routed { table, transport, .. } => match transport {
            Transport::Plain => format!("routes by table {table}"),
            Transport::Tls { .. } => format!("routes by table {table}, over TLS"),
            Transport::Quic { .. } => format!("routes by table {table}, over QUIC (HTTP/3)"),
        },
        ListenerKind::ToHttps(port) => format!("sends clients to HTTPS at port {port}"),
        ListenerKind::Tcp { target } => format!("brings bytes to {target}"),
    }
}

fn app(model: &MeshModel, node: &NodeMetadata, service: &NodeService) -> Option<ExplainedItem> {
    let protocol = protocol_of(model, node, service);
    Some(ExplainedItem {
        kind: "cluster".into(),
        name: Target::App(service.name.clone()).to_string(),
        what: format!("{protocol} to the application on 127.0.0.1:{}", service.app?),
        because: Origin::Bootstrap("services").to_string(),
    })
}

fn cluster(model: &MeshModel, to: &Target, is_proxyless: bool) -> ExplainedItem {
    let spec = target::cluster_spec(model, to);
    let origin = match to {
        Target::Service(key, _) => model
            .systems
            .get(&key.system)
            .and_then(|system| system.services.get(&key.name))
            .map(|service| service.origin.to_string()),
        Target::Issuer(system, way) => Some(format!("document {system}, auth.{way}.jwt.jwks")),
        Target::External(_) => Some("its Consul registration, outside the mesh".to_owned()),
        Target::App(_) | Target::Gateway(_) | Target::Ingress(_) => None,
    };
    let protocol = spec.protocol.map_or("caller's protocol".to_owned(), |p| p.to_string());
    // Failures that eject an instance are Envoy's own notion.
    let outlier = spec.outlier.filter(|_| !is_proxyless);
    let ejects = outlier.map_or("never ejects".to_owned(), |(failures, time)| {
        format!("ejects for {time:?} after {failures} failures")
    });
    let found = match &spec.discovery {
        Discovery::Endpoints | Discovery::Loopback(_) => String::new(),
        Discovery::HostNames(hosts) => {
            let hosts = hosts.iter().map(|host| format!("{}:{}", host.address, host.port));
            format!(", resolves {}", hosts.collect::<Vec<_>>().join(" and "))
        }
    };
    ExplainedItem {
        kind: "cluster".into(),
        name: to.to_string(),
        what: format!("{protocol}, connects within {:?}, {ejects}{found}", spec.connect_timeout),
        because: origin.unwrap_or_else(|| "registrations with mesh_role gateway".to_owned()),
    }
}

fn endpoints(model: &MeshModel, to: &Target) -> Vec<ExplainedItem> {
    target::endpoints(model, to)
        .into_iter()
        .map(|endpoint| ExplainedItem {
            kind: "endpoint".into(),
            name: format!("{}:{}", endpoint.address, endpoint.port),
            what: format!("{}, weight {}, of {to}", endpoint.health.as_str(), endpoint.weight),
            because: registration_at(model, &endpoint),
        })
        .collect()
}

fn registration_at(model: &MeshModel, endpoint: &target::Endpoint) -> String {
    let is_it = |instance: &&crate::catalog::Instance| {
        instance.address == endpoint.address
            && (instance.port == endpoint.port || instance.ingress == Some(endpoint.port))
    };
    let mesh = model.catalog.services().flat_map(|(_, instances)| instances.iter()).find(is_it);
    mesh.map_or_else(
        || "an external registration".to_owned(),
        |instance| format!("registration {} on {}", instance.id, instance.node),
    )
}
