//! What a System's gateway exposes: its document's routes, then the `mesh_path` of its services.

use std::collections::BTreeMap;

use contract::api::Problem;
use contract::name::ServiceName;
use contract::system::{AuthChoice, RouteMatch, SystemDocument};

use crate::catalog::ServiceSpec;
use crate::mesh::policy::{limited, retry_policy};
use crate::mesh::{AuthRequirement, ExposedRoute, Origin, PathMatch, ServiceModel};

/// Routes in the order of matching.
///
/// A document's routes keep their order. `mesh_path` routes follow, the longest prefix first, so that the most specific
/// service answers; of equal prefixes the first service by name wins, and the others are reported.
pub fn exposed_routes(
    document: Option<&SystemDocument>,
    specs: &BTreeMap<ServiceName, std::sync::Arc<ServiceSpec>>,
    services: &BTreeMap<ServiceName, ServiceModel>,
    problems: &mut Vec<Problem>,
) -> Vec<ExposedRoute> {
    let default_auth = document.and_then(|document| document.default_auth.as_ref());
    let mut routes: Vec<ExposedRoute> =
        document.map(|document| document_routes(document, services, problems)).unwrap_or_default();
    let mut by_path: Vec<(&String, &ServiceSpec)> = specs
        .values()
        .filter(|spec| services.contains_key(&spec.key.name))
        .filter_map(|spec| Some((spec.path.as_ref()?, spec.as_ref())))
        .collect();
    by_path.sort_by(|(a, one), (b, other)| {
        b.len().cmp(&a.len()).then_with(|| (a, &one.key).cmp(&(b, &other.key)))
    });
    for (path, spec) in by_path {
        let matches = PathMatch::Prefix(path.clone());
        if let Some(taken) = routes.iter().find(|route| route.path == matches) {
            if taken.to != spec.key.name {
                problems.push(Problem {
                    subject: format!("service {}", spec.key),
                    reason: format!(
                        "its mesh_path {path} is that of {} ({}), which answers; choose another",
                        taken.to, taken.origin
                    ),
                });
            }
            continue;
        }
        routes.push(ExposedRoute {
            path: matches,
            to: spec.key.name.clone(),
            timeout: None,
            retries: None,
            auth: requirement(None, default_auth),
            converts: false,
            origin: Origin::Registration(spec.key.clone(), "mesh_path"),
        });
    }
    routes
}

fn document_routes(
    document: &SystemDocument,
    services: &BTreeMap<ServiceName, ServiceModel>,
    problems: &mut Vec<Problem>,
) -> Vec<ExposedRoute> {
    let route = |(index, route): (usize, &contract::system::Route)| {
        if !services.contains_key(&route.to) {
            problems.push(Problem {
                subject: format!("document {}", document.name),
                reason: format!(
                    "routes[{index}].to: no service {} is registered; the route answers 503 until one is",
                    route.to
                ),
            });
        }
        ExposedRoute {
            path: match &route.matches {
                RouteMatch::Prefix(prefix) => PathMatch::Prefix(prefix.clone()),
                RouteMatch::Path(path) => PathMatch::Exact(path.clone()),
            },
            to: route.to.clone(),
            timeout: route.timeout.map(limited),
            retries: route.retries.as_ref().map(retry_policy),
            auth: requirement(route.auth.as_ref(), document.default_auth.as_ref()),
            converts: route.convert.is_some(),
            origin: Origin::Document(document.name.clone(), format!("routes[{index}]")),
        }
    };
    document.routes.iter().enumerate().map(route).collect()
}

fn requirement(route: Option<&AuthChoice>, default: Option<&AuthChoice>) -> AuthRequirement {
    match route.or(default) {
        None => AuthRequirement::Unstated,
        Some(AuthChoice::One(name)) if name == "none" => AuthRequirement::Open,
        Some(AuthChoice::One(name)) => AuthRequirement::AnyOf(vec![name.clone()]),
        Some(AuthChoice::AnyOf(names)) => AuthRequirement::AnyOf(names.clone()),
    }
}
