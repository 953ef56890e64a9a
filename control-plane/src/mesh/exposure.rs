//! What a System's gateway exposes: its document's routes, then the `mesh_path` of its services.

use std::collections::BTreeMap;

use contract::api::Problem;
use contract::gateway::Conversion;
use contract::name::ServiceName;
use contract::system::SystemDocument;

use crate::catalog::ServiceSpec;
use crate::mesh::policy::{limited, retry_policy};
use crate::mesh::{ExposedRoute, Origin, PathMatch, ServiceModel, admission};

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
            admission: admission::of_route(document, None, format!("mesh_path of {}", spec.key)),
            conversion: None,
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
        let to = route.services().next()?;
        if !services.contains_key(to) {
            problems.push(Problem {
                subject: format!("document {}", document.name),
                reason: format!(
                    "routes[{index}].to: no service {to} is registered; the route answers 503 until one is"
                ),
            });
        }
        let conversion = route.convert.as_ref().map(|convert| {
            Conversion::new(to.clone(), convert.grpc.clone(), convert.descriptors.clone())
        });
        let path = match (&route.matches.prefix, &route.matches.path) {
            (Some(prefix), _) => PathMatch::Prefix(prefix.clone()),
            (None, Some(path)) => PathMatch::Exact(path.clone()),
            (None, None) => return None,
        };
        Some(ExposedRoute {
            path,
            to: to.clone(),
            timeout: route.timeout.map(limited),
            retries: route.retries.as_ref().map(retry_policy),
            admission: admission::of_route(Some(document), Some(route), format!("routes[{index}]")),
            conversion,
            origin: Origin::Document(document.name.clone(), format!("routes[{index}]")),
        })
    };
    document.routes.iter().enumerate().filter_map(route).collect()
}
