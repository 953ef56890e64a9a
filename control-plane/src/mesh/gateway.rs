//! What a gateway admits and where it goes: one table for other Systems, one for the Router, one for the application
//! behind it; `rules.rs` says what becomes of one route.

use std::collections::{BTreeMap, BTreeSet};

use contract::gateway::{MESH_HOST, ROUTES_PATH};
use contract::name::{ServiceName, SystemName};
use contract::registration::Protocol;
use contract::system::{HostName, RouteMatch};

use crate::mesh::egress::answer;
use crate::mesh::forged::{FORGED_BY_CLIENTS, FORGED_BY_SYSTEMS};
use crate::mesh::hops::{self, Hop};
use crate::mesh::split::{self, Destination};
use crate::mesh::{
    Action, Admission, CALLER_SYSTEM, ExposedRoute, Forward, HeaderCondition, MESH_DOMAIN,
    MeshModel, Origin, PathMatch, Requests, RouteRule, RouteTable, ServiceModel, SystemModel,
    Treatment, VirtualHost, admission, listing, requests, spelling,
};

mod rules;

use rules::RouteRules;

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
            let first = guard.iter().cloned().chain([hops::guard(name)]);
            let routes = first.chain(routes).chain([last]).collect();
            VirtualHost { name: host.clone(), domains: vec![host], routes, names_caller: None }
        };
        let exposed = || system.routes.iter().filter(|route| route.is_for_systems());
        let view = RouteRules { system, app, faces_router: false };
        let all = exposed().flat_map(|route| view.rules(route, None)).collect();
        hosts.push(host(format!("{name}.{MESH_DOMAIN}"), all));
        let services: BTreeSet<&ServiceName> = exposed().flat_map(ExposedRoute::services).collect();
        for service in services {
            // What the gateway answers itself it answers whatever the name: a path that is closed stays closed.
            let of_it = exposed()
                .filter(|r| r.services().next().is_none() || r.services().any(|s| s == service));
            let routes = of_it.flat_map(|route| view.rules(route, Some(service))).collect();
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
    let hop = Some(Hop::Next(name.clone()));
    RouteTable { name: MESH_TABLE, hosts, strips: FORGED_BY_SYSTEMS, hop }
}

/// What the Router's clients reach: the same routes, each behind what its `auth` asks for.
pub fn ingress_table(
    model: &MeshModel,
    system_name: &SystemName,
    app: Option<&ServiceName>,
) -> RouteTable {
    let system = model.systems.get(system_name).map(AsRef::as_ref);
    let routes = system.map_or(&[][..], |system| &system.routes);
    let host = |name: String, domains: Vec<String>, routes: &[&ExposedRoute]| {
        let rules = system.map(|system| ingress_rules(system, routes, app)).unwrap_or_default();
        let first = std::iter::once(spelling::misspelt());
        let last = [nothing_here(system_name, "the Router")];
        let routes = first.chain(rules).chain(last).collect();
        VirtualHost { name, domains, routes, names_caller: None }
    };
    let mut hosts: Vec<VirtualHost> = by_host(routes)
        .into_iter()
        .map(|(domains, routes)| {
            let name = format!("host {}", domains.first().cloned().unwrap_or_default());
            host(name, domains, &routes)
        })
        .collect();
    let anywhere: Vec<&ExposedRoute> =
        routes.iter().filter(|route| route.matches.hosts.is_empty()).collect();
    hosts.push(host("all".to_owned(), vec!["*".to_owned()], &anywhere));
    let hop = Some(Hop::First(system_name.clone()));
    RouteTable { name: INGRESS_TABLE, hosts, strips: FORGED_BY_CLIENTS, hop }
}

/// Hosts that some route names, each with what is to be had there: hosts with equal routes together.
fn by_host(routes: &[ExposedRoute]) -> Vec<(Vec<String>, Vec<&ExposedRoute>)> {
    let named: BTreeSet<&HostName> = routes.iter().flat_map(|route| &route.matches.hosts).collect();
    let mut groups: BTreeMap<Vec<usize>, Vec<String>> = BTreeMap::new();
    for host in named {
        let takes = |matches: &RouteMatch| {
            matches.hosts.is_empty() || matches.hosts.iter().any(|wide| wide.covers(host))
        };
        let there = routes.iter().enumerate().filter(|(_, route)| takes(&route.matches));
        groups.entry(there.map(|(index, _)| index).collect()).or_default().push(host.0.clone());
    }
    let routes_at = |indices: Vec<usize>| indices.into_iter().filter_map(|index| routes.get(index));
    groups.into_iter().map(|(indices, hosts)| (hosts, routes_at(indices).collect())).collect()
}

/// The rules of routes for the Router's clients: guarded against other spellings, open to browsers' questions, closed
/// to those who do not show what each asks for.
fn ingress_rules(
    system: &SystemModel,
    routes: &[&ExposedRoute],
    app: Option<&ServiceName>,
) -> Vec<RouteRule> {
    let view = RouteRules { system, app, faces_router: true };
    let mut rules = Vec::new();
    for (position, route) in routes.iter().enumerate() {
        rules.extend(spelling::guards(routes.get(..position).unwrap_or_default(), route));
        let own = view.rules(route, None);
        rules.extend(preflight(route, &own));
        rules.extend(admission::guard(system, route, own, app));
    }
    rules
}

/// What browsers ask first is answered by the CORS filter, before anyone must prove anything. It acts on routes that
/// forward alone, hence a target that gets nothing.
fn preflight(route: &ExposedRoute, rules: &[RouteRule]) -> Option<RouteRule> {
    let cors = route.treatment.cors.clone()?;
    let target = rules.iter().find_map(|rule| match &rule.action {
        Action::Forward(forward) => forward.targets.first(),
        Action::Answer { .. } | Action::Page { .. } | Action::Redirect { .. } => None,
    })?;
    Some(RouteRule {
        requests: requests::preflight(&route.matches),
        admission: Admission::Open,
        action: Action::Forward(Forward::to(target.0.clone())),
        treatment: Treatment { cors: Some(cors), ..Treatment::default() },
        origin: route.origin.clone(),
    })
}

/// What the application behind the gateway reaches: the System's services by name. Who calls is for it to say on.
pub fn application_table(model: &MeshModel, name: &SystemName) -> RouteTable {
    let system = model.systems.get(name);
    let services = system.into_iter().flat_map(|system| system.services.values());
    // The gateway's own name goes before a service's, which the System's problems tell.
    let http = services.filter(|s| s.protocol != Protocol::Tcp && s.key.name.as_str() != MESH_HOST);
    let host = |service: &ServiceModel| VirtualHost {
        name: service.key.name.to_string(),
        domains: vec![service.key.name.to_string()],
        routes: split::rules(&Destination::of(service)),
        names_caller: None,
    };
    let own = system.map(|system| own_host(system));
    let body = format!("System {name} has no service of that name");
    let unknown = VirtualHost {
        name: "unknown".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![answer(404, body, Origin::Default("an unknown name answers 404"))],
        names_caller: None,
    };
    let hosts = http.map(host).chain(own).chain([unknown]).collect();
    RouteTable { name: APPLICATION_TABLE, hosts, strips: &[], hop: None }
}

/// What the gateway itself tells the application behind it.
fn own_host(system: &SystemModel) -> VirtualHost {
    let origin = || Origin::Default("the gateway says what it exposes");
    let page = Action::Page {
        status: 200,
        body: listing::gateway_routes_json(system),
        content_type: "application/json".to_owned(),
    };
    let rule = answer(404, format!("the gateway itself answers {ROUTES_PATH} alone"), origin());
    let requests = Requests::at(PathMatch::Exact(ROUTES_PATH.to_owned()));
    let routes = RouteRule { requests, action: page, ..rule.clone() };
    VirtualHost {
        name: "the gateway itself".to_owned(),
        domains: vec![MESH_HOST.to_owned()],
        routes: vec![routes, rule],
        names_caller: None,
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
    let stranger = HeaderCondition::NoneOf(CALLER_SYSTEM, admitted);
    let requests = Requests::all().with(stranger);
    Some(RouteRule { requests, ..answer(403, body, origin) })
}

fn nothing_here(system: &SystemName, host: &str) -> RouteRule {
    let body = format!("System {system} exposes nothing to {host} at this path");
    answer(404, body, Origin::Default("what is not exposed answers 404"))
}
