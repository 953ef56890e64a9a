//! What the Router admits: hosts and `/SYSTEM/` prefixes → the ingress of each System's gateway.

use contract::name::SystemName;

use crate::mesh::admission::closed;
use crate::mesh::egress::answer;
use crate::mesh::split;
use crate::mesh::{
    Action, Admission, Entrance, Forward, MeshModel, Origin, PathMatch, RouteRule, RouteTable,
    Target, VirtualHost, policy,
};

/// The Router's table.
pub const TABLE: &str = "router";

/// Every System's hosts, then every System by its path.
pub fn table(model: &MeshModel) -> RouteTable {
    let directory = &model.directory;
    let mut hosts: Vec<VirtualHost> = directory
        .hosts
        .iter()
        .filter_map(|(host, system)| {
            let entrance = directory.entrances.get(system)?;
            let origin = Origin::Document(system.clone(), "hosts".to_owned());
            Some(VirtualHost {
                name: format!("host {host}"),
                domains: vec![host.clone()],
                routes: enter(system, entrance, &PathMatch::Prefix("/".to_owned()), None, &origin),
                names_caller: None,
            })
        })
        .collect();
    let mut routes: Vec<RouteRule> = Vec::new();
    for (system, entrance) in &directory.entrances {
        let origin = Origin::Default("every System answers below its name");
        let stripped = format!("/{system}");
        for path in
            [PathMatch::Prefix(format!("/{system}/")), PathMatch::Exact(format!("/{system}"))]
        {
            routes.extend(enter(system, entrance, &path, Some(&stripped), &origin));
        }
    }
    let body = "no System answers for this host and path: a System is below /NAME/, or at the hosts of its document";
    let origin = Origin::Default("what no System claims answers 404");
    routes.push(answer(404, body.to_owned(), origin));
    hosts.push(VirtualHost {
        name: "by path".to_owned(),
        domains: vec!["*".to_owned()],
        routes,
        names_caller: None,
    });
    RouteTable { name: TABLE, hosts, strips_caller: true }
}

fn enter(
    system: &SystemName,
    entrance: &Entrance,
    path: &PathMatch,
    stripped: Option<&String>,
    origin: &Origin,
) -> Vec<RouteRule> {
    let refuse = |status, body| {
        vec![RouteRule { path: path.clone(), ..answer(status, body, origin.clone()) }]
    };
    if !entrance.has_document {
        return refuse(403, closed(system));
    }
    if !entrance.has_ingress {
        return refuse(
            503,
            format!(
                "System {system} has no gateway registered with a port for the Router (mesh_ingress)"
            ),
        );
    }
    split::by_safety(&policy::default_retries(), vec![], true, |retries, headers| RouteRule {
        path: path.clone(),
        headers,
        admission: Admission::Open,
        action: Action::Forward(Forward {
            targets: vec![(Target::Ingress(system.clone()), 100)],
            // The gateway's route has the limit; a second one here would cut what the first allows.
            timeout: None,
            is_grpc: false,
            retries,
            rewrite: stripped.map(|_| "/".to_owned()),
            stripped: stripped.cloned(),
            conversion: None,
        }),
        origin: origin.clone(),
    })
}
