//! The egress table of a gRPC client that reads xDS itself, made from that of a sidecar.
//!
//! In: a caller's egress table. Out: the same hosts, as far as such a client can follow them. Called for groups of
//! proxyless clients.
//!
//! Such a client asks for each name that it calls, exactly. A name that is not in the table does not exist for it,
//! which it finds out by waiting; so nothing is in it that answers by itself.
//!
//! **Invariants**: pure; every domain is one exact name; every rule forwards.

use contract::name::SystemName;

use crate::mesh::{
    Action, Discovery, MESH_DOMAIN, MeshModel, RouteRule, RouteTable, Target, VirtualHost, target,
};

/// The hosts that a gRPC client can call.
pub fn table(model: &MeshModel, egress: RouteTable) -> RouteTable {
    let hosts = egress.hosts.into_iter().filter(|host| can_follow(model, host));
    let hosts = hosts.map(|host| VirtualHost {
        domains: host.domains.iter().flat_map(|domain| exact(model, domain)).collect(),
        routes: host.routes.into_iter().map(untraced).collect(),
        ..host
    });
    RouteTable { hosts: hosts.collect(), ..egress }
}

/// Such a client traces by itself, if at all.
fn untraced(mut rule: RouteRule) -> RouteRule {
    rule.treatment.traced = None;
    rule
}

/// Every name in a table of such a client.
pub fn names(table: &RouteTable) -> impl Iterator<Item = &str> {
    table.hosts.iter().flat_map(|host| host.domains.iter().map(String::as_str))
}

/// Whether every rule leads to addresses: a gRPC client gives no answers of its own and resolves no host names.
fn can_follow(model: &MeshModel, host: &VirtualHost) -> bool {
    let has_addresses =
        |target: &Target| target::cluster_spec(model, target).discovery == Discovery::Endpoints;
    host.routes.iter().all(|rule| match &rule.action {
        Action::Forward(forward) => forward.targets.iter().all(|(to, _)| has_addresses(to)),
        Action::Answer { .. } | Action::Page { .. } | Action::Redirect { .. } => false,
    })
}

/// A domain as exact names: `*.SYSTEM.mesh` is every service that the System exposes.
fn exact(model: &MeshModel, domain: &str) -> Vec<String> {
    let Some(suffix) = domain.strip_prefix("*.") else { return vec![domain.to_owned()] };
    let system = suffix.strip_suffix(MESH_DOMAIN).and_then(|name| name.strip_suffix('.'));
    let system = system.and_then(|name| name.parse::<SystemName>().ok());
    let exposed = system.and_then(|name| model.exposed.get(&name));
    exposed.into_iter().flatten().map(|service| format!("{service}.{suffix}")).collect()
}
