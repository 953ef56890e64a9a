//! What a proxy gets, and why: the same values that the resources are built from, for people.

use std::collections::BTreeSet;

use contract::api::{ExplainedItem, Outcome, Problem, RouteView, Share};
use contract::gateway::{Conversion, GatewayRoutes};
use contract::name::SystemName;
use contract::node::{NodeMetadata, NodeService};

use crate::mesh::listeners::{TcpListeners, listeners, protocol_of};
use crate::mesh::{
    Action, ExposedRoute, Forward, HeaderCondition, ListenerKind, MeshModel, Origin, PathMatch,
    RouteTable, SystemModel, Target, Transport, target,
};

/// Everything a proxy gets, in the order in which a request meets it.
pub fn items(
    model: &MeshModel,
    node: &NodeMetadata,
    tables: &[RouteTable],
    tcp: &TcpListeners,
) -> Vec<ExplainedItem> {
    let mut items: Vec<ExplainedItem> = listeners(model, node, tcp)
        .into_iter()
        .map(|listener| ExplainedItem {
            kind: "listener".into(),
            what: format!("{} {}", listener.address, listener_kind(&listener.kind)),
            name: listener.name,
            because: listener.origin.to_string(),
        })
        .collect();
    for table in tables {
        items.extend(routes(table));
    }
    items.extend(node.services.iter().filter_map(|service| app(model, node, service)));
    let mut targets: Vec<Target> = tables.iter().flat_map(RouteTable::targets).collect();
    targets.extend(tcp.values().map(|(target, _)| target.clone()));
    targets.sort();
    targets.dedup();
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

/// A path as people write it.
pub fn path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(prefix) => format!("prefix {prefix}"),
    }
}

/// A System's routes, for people and for the application behind its gateway.
pub fn route_views(system: &SystemModel) -> Vec<RouteView> {
    let view = |route: &ExposedRoute| {
        let own = system.services.get(&route.to).and_then(|service| service.policy.timeout);
        RouteView {
            matches: path(&route.path),
            hosts: Vec::new(),
            to: Outcome::Services(vec![Share { service: route.to.clone(), percent: 100 }]),
            auth: route.admission.describe(),
            callers: system.document.as_ref().and_then(|document| document.callers.clone()),
            conversion: route.conversion.clone(),
            timeout: route.timeout.unwrap_or(own).map(Into::into),
            origin: route.origin.to_string(),
        }
    };
    system.routes.iter().map(view).collect()
}

/// What a System exposes, as one value.
pub fn gateway_routes(system: &SystemModel) -> GatewayRoutes {
    let routes = route_views(system);
    let conversions: BTreeSet<Conversion> =
        routes.iter().filter_map(|route| route.conversion.clone()).collect();
    let conversions = conversions.into_iter().collect();
    GatewayRoutes { system: system.name.clone(), routes, conversions }
}

fn routes(table: &RouteTable) -> Vec<ExplainedItem> {
    let rule = |host: &str, rule: &crate::mesh::RouteRule| {
        let conditions: String = rule.headers.iter().map(condition).collect();
        ExplainedItem {
            kind: "route".into(),
            name: format!("{} {host} {}{conditions}", table.name, path(&rule.path)),
            what: match &rule.action {
                Action::Forward(to) => forward(to),
                Action::Answer { status, body } => format!("answers {status}: {body}"),
            },
            because: rule.origin.to_string(),
        }
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

fn condition(condition: &HeaderCondition) -> String {
    match condition {
        HeaderCondition::OneOf(":method", methods) => format!(", {}", methods.join("|")),
        HeaderCondition::OneOf(name, values) => format!(", {name} is {}", values.join("|")),
        HeaderCondition::NoneOf(name, values) => format!(", {name} is not {}", values.join("|")),
        HeaderCondition::Present(name) => format!(", has {name}"),
    }
}

fn forward(forward: &Forward) -> String {
    let targets: Vec<String> = match forward.targets.as_slice() {
        [(target, _)] => vec![target.to_string()],
        targets => targets.iter().map(|(target, share)| format!("{share}% {target}")).collect(),
    };
    let timeout = forward.timeout.map_or("no time limit".to_owned(), |t| format!("{t:?}"));
    let retries = forward.retries.as_ref().map_or("no retries".to_owned(), |retries| {
        let on: Vec<&str> = retries.on.iter().map(|on| on.as_str()).collect();
        format!("{} retries on {}", retries.attempts, on.join("|"))
    });
    let rewrite = forward.stripped.as_ref().map_or(String::new(), |p| format!(", strips {p}"));
    format!("to {}, {timeout}, {retries}{rewrite}", targets.join(" + "))
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
    ExplainedItem {
        kind: "cluster".into(),
        name: to.to_string(),
        what: format!("{protocol}, connects within {:?}, {ejects}", spec.connect_timeout),
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
