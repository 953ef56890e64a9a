//! What a gateway admits and where it goes: one table for other Systems, one for the Router, one for the application
//! behind it.

use std::collections::BTreeMap;

use contract::name::{ServiceName, SystemName};
use contract::registration::Protocol;

use crate::mesh::egress::answer;
use crate::mesh::split::{self, Destination};
use crate::mesh::{
    CALLER_SYSTEM, ExposedRoute, HeaderCondition, MESH_DOMAIN, MeshModel, Origin, PathMatch,
    RouteRule, RouteTable, ServiceModel, SystemModel, VirtualHost, admission,
};

/// The table for other Systems.
pub const MESH_TABLE: &str = "mesh";
/// The table for the Router.
pub const INGRESS_TABLE: &str = "ingress";
/// The table for the application behind the gateway.
pub const APPLICATION_TABLE: &str = "application";

/// What other Systems' sidecars reach: `SYSTEM.mesh` by path, `NAME.SYSTEM.mesh` by what is exposed of that service.
pub fn mesh_table(model: &MeshModel, name: &SystemName, app: Option<&ServiceName>) -> RouteTable {
    let mut hosts = Vec::new();
    if let Some(system) = model.systems.get(name) {
        let guard = callers_guard(system);
        let host = |host: String, routes: Vec<RouteRule>| {
            let last = nothing_here(name, &host);
            let routes = guard.iter().cloned().chain(routes).chain([last]).collect();
            VirtualHost { name: host.clone(), domains: vec![host], routes, names_caller: None }
        };
        let all = system.routes.iter().flat_map(|route| rules(system, route, app)).collect();
        hosts.push(host(format!("{name}.{MESH_DOMAIN}"), all));
        for (service, routes) in by_service(system) {
            let routes = routes.into_iter().flat_map(|route| rules(system, route, app)).collect();
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
pub fn ingress_table(
    model: &MeshModel,
    name: &SystemName,
    app: Option<&ServiceName>,
) -> RouteTable {
    let mut routes: Vec<RouteRule> = model
        .systems
        .get(name)
        .into_iter()
        .flat_map(|system| {
            let guarded = |route| admission::guard(system, route, rules(system, route, app), app);
            system.routes.iter().flat_map(guarded)
        })
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

/// What the application behind the gateway reaches: the System's services by name. Who calls is for it to say on.
pub fn application_table(model: &MeshModel, name: &SystemName) -> RouteTable {
    let services = model.systems.get(name).into_iter().flat_map(|system| system.services.values());
    let http = services.filter(|service| service.protocol != Protocol::Tcp);
    let host = |service: &ServiceModel| VirtualHost {
        name: service.key.name.to_string(),
        domains: vec![service.key.name.to_string()],
        routes: split::rules(&Destination {
            service,
            path: PathMatch::Prefix("/".to_owned()),
            timeout: None,
            retries: None,
            origin: service.origin.clone(),
        }),
        names_caller: None,
    };
    let body = format!("System {name} has no service of that name");
    let unknown = VirtualHost {
        name: "unknown".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![answer(404, body, Origin::Default("an unknown name answers 404"))],
        names_caller: None,
    };
    let hosts = http.map(host).chain([unknown]).collect();
    RouteTable { name: APPLICATION_TABLE, hosts, strips_caller: false }
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

/// The rules of a route, whoever calls.
fn rules(system: &SystemModel, route: &ExposedRoute, app: Option<&ServiceName>) -> Vec<RouteRule> {
    let refuse = |body: String| {
        let rule = answer(503, body, route.origin.clone());
        vec![RouteRule { path: route.path.clone(), ..rule }]
    };
    let Some(service) = system.services.get(&route.to) else {
        return refuse(format!(
            "service {} of System {} has no instance registered",
            route.to, system.name
        ));
    };
    let destination = Destination {
        service,
        path: route.path.clone(),
        timeout: route.timeout,
        retries: route.retries.as_ref(),
        origin: route.origin.clone(),
    };
    match (&route.conversion, app) {
        (None, _) => split::rules(&destination),
        (Some(conversion), Some(app)) => split::converted(&destination, conversion, app),
        (Some(_), None) => refuse(format!(
            "this route of System {} asks for REST to gRPC conversion, and no api-gateway application stands behind this gateway: start one, and render the bootstrap with its port",
            system.name
        )),
    }
}

fn nothing_here(system: &SystemName, host: &str) -> RouteRule {
    let body = format!("System {system} exposes nothing to {host} at this path");
    answer(404, body, Origin::Default("what is not exposed answers 404"))
}
