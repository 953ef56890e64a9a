//! What a System exposes, to whom, and where it goes: for people, and for the application behind its gateway.

use std::collections::BTreeSet;

use contract::api::{Outcome, RouteView, Share};
use contract::conversion::Conversion;
use contract::gateway::{AuthWay, GatewayRoutes, RestRoute};
use contract::system::AuthMethod;

use crate::mesh::{Admission, ExposedRoute, RouteTo, SystemModel, requests, words};

/// A System's routes in the order of matching.
pub fn route_views(system: &SystemModel) -> Vec<RouteView> {
    system.routes.iter().map(|route| route_view(system, route)).collect()
}

/// What a System exposes, as one value.
pub fn gateway_routes(system: &SystemModel) -> GatewayRoutes {
    let routes = route_views(system);
    let conversions: BTreeSet<Conversion> =
        routes.iter().filter_map(|route| route.conversion.clone()).collect();
    let conversions = conversions.into_iter().collect();
    let document = system.document.as_ref();
    let hosts = document.into_iter().flat_map(|document| &document.hosts);
    let servers = hosts.filter(|host| !host.0.starts_with('*')).map(|host| format!("//{}", host.0));
    let ways = document.into_iter().flat_map(|document| &document.auth);
    GatewayRoutes {
        system: system.name.clone(),
        routes,
        conversions,
        servers: servers.chain([format!("/{}", system.name)]).collect(),
        ways: ways.map(|(name, method)| (name.clone(), auth_way(method))).collect(),
        rest: system.routes.iter().filter_map(rest_route).collect(),
    }
}

fn auth_way(method: &AuthMethod) -> AuthWay {
    match method {
        AuthMethod::Jwt(jwt) => match &jwt.header {
            None => AuthWay::Bearer,
            Some(header) => AuthWay::ApiKey { header: header.clone() },
        },
        AuthMethod::ApiKey(key) => AuthWay::ApiKey { header: key.header.clone() },
    }
}

/// A route by expression or template has no prefix that its methods' paths could stand below.
fn rest_route(route: &ExposedRoute) -> Option<RestRoute> {
    let conversion = route.conversion.clone()?;
    let RouteTo::Services(to) = &route.to else { return None };
    let prefix = route.matches.prefix.clone().or_else(|| route.matches.path.clone())?;
    let auth = match &route.admission {
        Admission::Guarded(guard) => guard.order.clone(),
        Admission::Open | Admission::Unstated => Vec::new(),
    };
    Some(RestRoute { conversion, prefix, rewrite: to.rewrite.clone(), auth })
}

/// [`gateway_routes`] as JSON.
pub fn gateway_routes_json(system: &SystemModel) -> String {
    // Structs of text and numbers: writing them into memory does not fail.
    serde_json::to_string(&gateway_routes(system)).unwrap_or_default()
}

fn route_view(system: &SystemModel, route: &ExposedRoute) -> RouteView {
    let to = match &route.to {
        RouteTo::Services(to) => Outcome::Services(
            to.shares
                .iter()
                .map(|(service, percent)| Share { service: service.clone(), percent: *percent })
                .collect(),
        ),
        RouteTo::Redirect(redirect) => {
            let host = redirect.host.as_ref().map(|host| format!("//{}", host.0));
            let path = redirect.path.as_ref().or(redirect.prefix.as_ref()).cloned();
            Outcome::Redirect {
                status: redirect.status.unwrap_or(308),
                location: host.into_iter().chain(path).collect(),
            }
        }
        RouteTo::Answer(answer) => Outcome::Answer(answer.status),
    };
    let own = || {
        let service = route.services().next()?;
        system.services.get(service)?.policy.timeout
    };
    let callers = system.document.as_ref().and_then(|document| document.callers.clone());
    RouteView {
        matches: words::requests(&requests::of(&route.matches)),
        hosts: route.matches.hosts.iter().map(|host| host.0.clone()).collect(),
        to,
        auth: route.admission.describe(),
        callers: if route.is_for_systems() { callers } else { Some(Vec::new()) },
        conversion: route.conversion.clone(),
        timeout: route.timeout.unwrap_or_else(own).map(Into::into),
        origin: route.origin.to_string(),
    }
}
