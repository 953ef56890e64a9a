//! Routes: what each matches, that something can reach it, and what happens then.
//!
//! `matches.rs` checks conditions, `outcome.rs` what becomes of a request.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Findings, KeyPath, admission, check_retries, items, part};
use crate::system::{Cors, Cover, HostName, Reach, Route};

mod matches;
mod outcome;

/// Above this a document is no longer something that people read, and every route is compared with every other.
const MAX_ROUTES: usize = 1000;

pub(super) fn check(document: &Value, declared: &BTreeSet<String>, findings: &mut Findings<'_>) {
    if let Some(cors) = part::<Cors>(document.get("cors")) {
        outcome::check_cors(&cors, &KeyPath::of("cors"), findings);
    }
    let hosts: Vec<HostName> =
        items(document, "hosts").filter_map(|(_, host)| part(Some(host))).collect();
    let routes: Vec<(usize, Route)> = items(document, "routes")
        .filter_map(|(index, value)| Some((index, part(Some(value))?)))
        .collect();
    if routes.len() > MAX_ROUTES {
        let message = format!("{} routes: at most {MAX_ROUTES} in a System", routes.len());
        return findings.add(&KeyPath::of("routes"), message);
    }
    for (index, route) in &routes {
        let path = KeyPath::of("routes").index(*index);
        if let Some(choice) = &route.auth {
            admission::choice(choice, declared, &path.clone().key("auth"), findings);
        }
        if let Some(retries) = &route.retries {
            check_retries(retries, &path.clone().key("retries"), findings);
        }
        matches::check(&route.matches, &hosts, &path.clone().key("match"), findings);
        outcome::check(route, &path, findings);
    }
    for (index, earlier, cover) in shadowed(&routes) {
        if cover == Cover::All {
            let path = match_path(&routes, index);
            findings.add(&path, format!("never reached: routes[{earlier}] takes these requests"));
        }
    }
}

/// Routes of which nobody can tell whether an earlier one leaves them anything.
pub(super) fn check_doubts(routes: &[Route], findings: &mut Findings<'_>) {
    let routes: Vec<(usize, Route)> = routes.iter().cloned().enumerate().collect();
    for (index, earlier, cover) in shadowed(&routes) {
        if cover == Cover::Unknown {
            let path = match_path(&routes, index);
            let message = format!(
                "perhaps never reached: routes[{earlier}] may take these requests, an expression cannot be compared"
            );
            findings.add(&path, message);
        }
    }
}

/// Where the path of a route is written.
fn match_path(routes: &[(usize, Route)], index: usize) -> KeyPath {
    let path = KeyPath::of("routes").index(index).key("match");
    let route = routes.iter().find(|(other, _)| *other == index);
    let kind = route.and_then(|(_, route)| matches::paths(&route.matches).first().copied());
    kind.map_or(path.clone(), |(key, _)| path.key(key))
}

/// Each route that an earlier one covers, with the earliest that does so most certainly.
fn shadowed(routes: &[(usize, Route)]) -> Vec<(usize, usize, Cover)> {
    let reaches: Vec<(usize, Reach<'_>)> = routes
        .iter()
        .filter(|(_, route)| matches::paths(&route.matches).len() == 1)
        .map(|(index, route)| (*index, Reach::of(&route.matches)))
        .collect();
    let mut shadowed = Vec::new();
    for (position, (index, reach)) in reaches.iter().enumerate() {
        let earlier = reaches.iter().take(position);
        let covers = earlier.map(|(earlier, wide)| (wide.covers(reach), *earlier));
        let worst = covers.max_by_key(|(cover, earlier)| (*cover, std::cmp::Reverse(*earlier)));
        if let Some((cover @ (Cover::All | Cover::Unknown), earlier)) = worst {
            shadowed.push((*index, earlier, cover));
        }
    }
    shadowed
}
