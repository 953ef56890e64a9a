//! What a gateway admits and where it goes: one table for other Systems, one for the Router.

use std::collections::BTreeMap;

use contract::name::{ServiceName, SystemName};

use crate::mesh::egress::answer;
use crate::mesh::split::{self, Destination};
use crate::mesh::{
    AuthRequirement, CALLER_SYSTEM, ExposedRoute, HeaderCondition, MESH_DOMAIN, MeshModel, Origin,
    RouteRule, RouteTable, SystemModel, VirtualHost,
};

/// The table for other Systems.
pub const MESH_TABLE: &str = "mesh";
/// The table for the Router.
pub const INGRESS_TABLE: &str = "ingress";

/// What other Systems' sidecars reach: `SYSTEM.mesh` by path, `NAME.SYSTEM.mesh` by what is exposed of that service.
pub fn mesh_table(model: &MeshModel, name: &SystemName) -> RouteTable {
    let mut hosts = Vec::new();
    if let Some(system) = model.systems.get(name) {
        let guard = callers_guard(system);
        let host = |host: String, routes: Vec<RouteRule>| {
            let last = nothing_here(name, &host);
            let routes = guard.iter().cloned().chain(routes).chain([last]).collect();
            VirtualHost { name: host.clone(), domains: vec![host], routes, names_caller: None }
        };
        let all = system.routes.iter().flat_map(|route| for_systems(system, route)).collect();
        hosts.push(host(format!("{name}.{MESH_DOMAIN}"), all));
        for (service, routes) in by_service(system) {
            let routes = routes.into_iter().flat_map(|route| for_systems(system, route)).collect();
            hosts.push(host(format!("{service}.{name}.{MESH_DOMAIN}"), routes));
        }
    }
    let body = format!(
        "System {name} exposes no service of that name: a document route or mesh_path exposes one"
    );
    let origin = Origin::Default("what is not exposed answers 404");
    hosts.push(VirtualHost {
        name: "unknown".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![answer(404, body, origin)],
        names_caller: None,
    });
    RouteTable { name: MESH_TABLE, hosts, strips_caller: false }
}

/// What the Router's clients reach: the same routes, each behind what its `auth` asks for.
pub fn ingress_table(model: &MeshModel, name: &SystemName) -> RouteTable {
    let mut routes: Vec<RouteRule> = model
        .systems
        .get(name)
        .into_iter()
        .flat_map(|system| system.routes.iter().flat_map(|route| for_clients(system, route)))
        .collect();
    routes.push(nothing_here(name, "the Router"));
    RouteTable {
        name: INGRESS_TABLE,
        hosts: vec![VirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes,
            names_caller: None,
        }],
        strips_caller: true,
    }
}

/// Refuses Systems that the document's `callers` does not name. The own System always enters.
fn callers_guard(system: &SystemModel) -> Option<RouteRule> {
    let callers = system.document.as_ref()?.callers.as_ref()?;
    let mut admitted: Vec<String> =
        callers.iter().chain([&system.name]).map(ToString::to_string).collect();
    admitted.sort();
    admitted.dedup();
    let body = format!(
        "System {} does not admit this caller: it admits {} (its document's `callers`)",
        system.name,
        admitted.join(", ")
    );
    let origin = Origin::Document(system.name.clone(), "callers".to_owned());
    Some(RouteRule {
        headers: vec![HeaderCondition::NoneOf(CALLER_SYSTEM, admitted)],
        ..answer(403, body, origin)
    })
}

fn by_service(system: &SystemModel) -> BTreeMap<&ServiceName, Vec<&ExposedRoute>> {
    let mut services: BTreeMap<&ServiceName, Vec<&ExposedRoute>> = BTreeMap::new();
    for route in &system.routes {
        services.entry(&route.to).or_default().push(route);
    }
    services
}

fn for_systems(system: &SystemModel, route: &ExposedRoute) -> Vec<RouteRule> {
    if route.converts { vec![cannot_convert(system, route)] } else { forward(system, route) }
}

fn for_clients(system: &SystemModel, route: &ExposedRoute) -> Vec<RouteRule> {
    let refuse = |status, body| {
        let rule = answer(status, body, route.origin.clone());
        vec![RouteRule { path: route.path.clone(), ..rule }]
    };
    let name = &system.name;
    match &route.auth {
        AuthRequirement::Open if route.converts => vec![cannot_convert(system, route)],
        AuthRequirement::Open => forward(system, route),
        AuthRequirement::Unstated => refuse(403, closed(name)),
        AuthRequirement::AnyOf(ways) => refuse(
            503,
            format!(
                "this route of System {name} asks for auth {}, which this gateway cannot check: nobody is let through",
                ways.join(" or ")
            ),
        ),
    }
}

/// Why the Router lets nothing in, naming the missing line.
pub fn closed(system: &SystemName) -> String {
    format!(
        "System {system} is closed to the Router: its document has no `default_auth` line (`default_auth: none` lets everyone in)"
    )
}

fn cannot_convert(system: &SystemModel, route: &ExposedRoute) -> RouteRule {
    let body = format!(
        "this route of System {} asks for REST to gRPC conversion, which this gateway cannot do",
        system.name
    );
    RouteRule { path: route.path.clone(), ..answer(503, body, route.origin.clone()) }
}

fn forward(system: &SystemModel, route: &ExposedRoute) -> Vec<RouteRule> {
    match system.services.get(&route.to) {
        Some(service) => split::rules(&Destination {
            service,
            path: route.path.clone(),
            timeout: route.timeout,
            retries: route.retries.as_ref(),
            origin: route.origin.clone(),
        }),
        None => {
            let body = format!(
                "service {} of System {} has no instance registered",
                route.to, system.name
            );
            let rule = answer(503, body, route.origin.clone());
            vec![RouteRule { path: route.path.clone(), ..rule }]
        }
    }
}

fn nothing_here(system: &SystemName, host: &str) -> RouteRule {
    let body = format!("System {system} exposes nothing to {host} at this path");
    answer(404, body, Origin::Default("what is not exposed answers 404"))
}
