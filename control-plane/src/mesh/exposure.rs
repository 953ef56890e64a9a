//! What a System's gateway exposes: its document's routes, then the `mesh_path` of its services.

use std::collections::BTreeMap;

use contract::api::Problem;
use contract::conversion::Conversion;
use contract::gateway::MESH_HOST;
use contract::name::ServiceName;
use contract::system::{Cover, Destination, Reach, Route, RouteMatch, SystemDocument};

use crate::catalog::ServiceSpec;
use crate::mesh::policy::{limited, retry_policy};
use crate::mesh::{ExposedRoute, Forwarding, Origin, RouteTo, ServiceModel, Treatment, admission};

/// Routes in the order of matching.
///
/// A document's routes keep their order. `mesh_path` routes follow, the longest prefix first, so that the most specific
/// service answers; of equal prefixes the first service by name wins. One that an earlier route leaves nothing is
/// reported.
pub fn exposed_routes(
    document: Option<&SystemDocument>,
    specs: &BTreeMap<ServiceName, std::sync::Arc<ServiceSpec>>,
    services: &BTreeMap<ServiceName, ServiceModel>,
    problems: &mut Vec<Problem>,
) -> Vec<ExposedRoute> {
    if let Some(service) = services.get(MESH_HOST) {
        problems.push(Problem {
            subject: format!("service {}", service.key),
            reason: format!("the gateway's application cannot call it: {MESH_HOST} is the gateway itself there; choose another name"),
        });
    }
    let mut routes: Vec<ExposedRoute> = document
        .into_iter()
        .flat_map(|document| {
            let routes = document.routes.iter().enumerate();
            routes.filter_map(|(index, route)| document_route(document, index, route))
        })
        .collect();
    for route in &routes {
        missing_services(route, services, problems);
    }
    let mut by_path: Vec<(&String, &ServiceSpec)> = specs
        .values()
        .filter(|spec| services.contains_key(&spec.key.name))
        .filter_map(|spec| Some((spec.path.as_ref()?, spec.as_ref())))
        .collect();
    by_path.sort_by(|(a, one), (b, other)| {
        b.len().cmp(&a.len()).then_with(|| (a, &one.key).cmp(&(b, &other.key)))
    });
    for (path, spec) in by_path {
        let route = path_route(document, path, spec);
        if let Some(taken) = earlier(&routes, &route) {
            if !taken.services().eq([&spec.key.name]) {
                problems.push(taken_path(spec, path, taken));
            }
            continue;
        }
        routes.push(route);
    }
    routes
}

/// The first route that takes all requests of another.
fn earlier<'a>(routes: &'a [ExposedRoute], route: &ExposedRoute) -> Option<&'a ExposedRoute> {
    let reach = Reach::of(&route.matches);
    routes.iter().find(|wide| Reach::of(&wide.matches).covers(&reach) == Cover::All)
}

fn taken_path(spec: &ServiceSpec, path: &str, taken: &ExposedRoute) -> Problem {
    let who = taken.services().next().map_or("an answer".to_owned(), ToString::to_string);
    let reason = if taken.matches == RouteMatch::of_prefix(path) {
        format!(
            "its mesh_path {path} is that of {who} ({}), which answers; choose another",
            taken.origin
        )
    } else {
        format!(
            "its mesh_path {path} is never reached: {who} ({}) takes these requests; choose another, or narrow that route",
            taken.origin
        )
    };
    Problem { subject: format!("service {}", spec.key), reason }
}

fn path_route(document: Option<&SystemDocument>, path: &str, spec: &ServiceSpec) -> ExposedRoute {
    ExposedRoute {
        matches: RouteMatch::of_prefix(path),
        to: RouteTo::Services(Forwarding {
            shares: vec![(spec.key.name.clone(), 100)],
            rewrite: None,
            mirror: None,
        }),
        timeout: None,
        retries: None,
        admission: admission::of_route(document, None, format!("mesh_path of {}", spec.key)),
        conversion: None,
        treatment: Treatment {
            cors: document.and_then(|document| document.cors.clone()),
            compress: document.is_some_and(|document| document.compress),
            ..Treatment::default()
        },
        origin: Origin::Registration(spec.key.clone(), "mesh_path"),
    }
}

fn document_route(document: &SystemDocument, index: usize, route: &Route) -> Option<ExposedRoute> {
    let conversion = route.convert.as_ref().zip(route.to.as_ref()).and_then(|(convert, to)| {
        let Destination::One(service) = to else { return None };
        Some(Conversion::new(service.clone(), convert.grpc.clone(), convert.descriptors.clone()))
    });
    Some(ExposedRoute {
        matches: route.matches.clone(),
        to: route_to(route)?,
        timeout: route.timeout.map(limited),
        retries: route.retries.as_ref().map(retry_policy),
        admission: admission::of_route(Some(document), Some(route), format!("routes[{index}]")),
        conversion,
        treatment: Treatment {
            headers: route.headers.clone().unwrap_or_default(),
            cors: route.cors.clone().or_else(|| document.cors.clone()),
            compress: route.compress.unwrap_or(document.compress),
            traced: None,
        },
        origin: Origin::Document(document.name.clone(), format!("routes[{index}]")),
    })
}

fn route_to(route: &Route) -> Option<RouteTo> {
    let forwarding = |to: &Destination| {
        RouteTo::Services(Forwarding {
            shares: to.shares().into_iter().map(|(name, share)| (name.clone(), share)).collect(),
            rewrite: route.rewrite.clone(),
            mirror: route.mirror.as_ref().map(|m| (m.to.clone(), m.percent.unwrap_or(100))),
        })
    };
    let redirect = || route.redirect.clone().map(RouteTo::Redirect);
    let answer = || route.answer.clone().map(RouteTo::Answer);
    route.to.as_ref().map(forwarding).or_else(redirect).or_else(answer)
}

fn missing_services(
    route: &ExposedRoute,
    services: &BTreeMap<ServiceName, ServiceModel>,
    problems: &mut Vec<Problem>,
) {
    let (Origin::Document(document, place), RouteTo::Services(to)) = (&route.origin, &route.to)
    else {
        return;
    };
    let mut report = |reason: String| {
        problems.push(Problem {
            subject: format!("document {document}"),
            reason: format!("{place}.{reason}"),
        });
    };
    for (name, _) in to.shares.iter().filter(|(name, _)| !services.contains_key(name)) {
        let meanwhile =
            if to.shares.len() == 1 { "the route answers 503" } else { "the others get its share" };
        report(format!("to: no service {name} is registered; {meanwhile} until one is"));
    }
    if let Some((name, _)) = to.mirror.as_ref().filter(|(name, _)| !services.contains_key(name)) {
        report(format!(
            "mirror.to: no service {name} is registered; it gets its copies when one is"
        ));
    }
}
