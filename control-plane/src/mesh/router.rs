//! What the Router admits: hosts and `/SYSTEM/` prefixes → the ingress of each System's gateway.

use contract::name::SystemName;

use crate::mesh::admission::closed;
use crate::mesh::egress::answer;
use crate::mesh::forged::FORGED_BY_CLIENTS;
use crate::mesh::{
    Action, Admission, Entrance, Forward, MeshModel, Origin, PathMatch, Requests, Rewrite,
    RouteRule, RouteTable, Target, Treatment, VirtualHost, policy, spelling,
};
use crate::mesh::{maintenance, split};

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
            let whole = PathMatch::Prefix("/".to_owned());
            Some(VirtualHost {
                name: format!("host {host}"),
                domains: vec![host.clone()],
                routes: [spelling::many_hosts(), spelling::misspelt()]
                    .into_iter()
                    .chain(enter(system, entrance, &whole, None, &origin))
                    .collect(),
                names_caller: None,
            })
        })
        .collect();
    let mut routes: Vec<RouteRule> = vec![spelling::many_hosts(), spelling::misspelt()];
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
    RouteTable { name: TABLE, hosts, strips: FORGED_BY_CLIENTS, hop: None }
}

fn enter(
    system: &SystemName,
    entrance: &Entrance,
    path: &PathMatch,
    stripped: Option<&String>,
    origin: &Origin,
) -> Vec<RouteRule> {
    let refuse = |status, body| {
        let requests = Requests::at(path.clone());
        vec![RouteRule { requests, ..answer(status, body, origin.clone()) }]
    };
    if !entrance.has_document {
        return refuse(403, closed(system));
    }
    if let Some(closed) = &entrance.maintenance {
        return maintenance::rules(system, closed, path);
    }
    if !entrance.has_ingress {
        return refuse(
            503,
            format!(
                "System {system} has no gateway registered with a port for the Router (mesh_ingress)"
            ),
        );
    }
    let requests = Requests::at(path.clone());
    split::by_safety(&policy::default_retries(), &requests, true, |retries, requests| RouteRule {
        requests,
        admission: Admission::Open,
        action: Action::Forward(Forward {
            // The gateway's route has the time limit; a second one here would cut what the first allows.
            retries,
            rewrite: stripped.map(|_| Rewrite::Matched("/".to_owned())),
            stripped: stripped.cloned(),
            ..Forward::to(Target::Ingress(system.clone()))
        }),
        treatment: Treatment { traced: Some(entrance.traced), ..Treatment::default() },
        origin: origin.clone(),
    })
}
