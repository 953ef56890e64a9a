//! Who is let in through the Router.
//!
//! In: what a document's `auth`, `default_auth` and a route say. Out: the [`Admission`] of each route, and the rules of
//! routes that let nobody in.
//!
//! **Invariants**: what is not said lets nobody in; what this mesh cannot check lets nobody in.

use contract::name::SystemName;
use contract::system::AuthChoice;

use crate::mesh::egress::answer;
use crate::mesh::{ExposedRoute, RouteRule, SystemModel};

/// What callers must show for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Nothing: `none` is written, or the listener faces the mesh.
    Open,
    /// One of these ways.
    AnyOf(Vec<String>),
    /// Neither the route nor `default_auth` says: nobody is let in.
    Unstated,
}

/// What a route asks for: its own choice, else the System's.
pub fn of_route(route: Option<&AuthChoice>, default: Option<&AuthChoice>) -> Admission {
    match route.or(default) {
        None => Admission::Unstated,
        Some(AuthChoice::One(name)) if name == "none" => Admission::Open,
        Some(AuthChoice::One(name)) => Admission::AnyOf(vec![name.clone()]),
        Some(AuthChoice::AnyOf(names)) => Admission::AnyOf(names.clone()),
    }
}

/// The rules of a route for the Router's clients, each behind what its `auth` asks for.
pub fn guard(system: &SystemModel, route: &ExposedRoute, rules: Vec<RouteRule>) -> Vec<RouteRule> {
    let refuse = |status, body| {
        let refusal = |rule: RouteRule| RouteRule {
            action: answer(status, String::clone(&body), rule.origin.clone()).action,
            ..rule
        };
        rules.clone().into_iter().map(refusal).collect()
    };
    match &route.admission {
        Admission::Open => rules,
        Admission::Unstated => refuse(403, closed(&system.name)),
        Admission::AnyOf(ways) => refuse(
            503,
            format!(
                "this route of System {} asks for auth {}, which this gateway cannot check: nobody is let through",
                system.name,
                ways.join(" or ")
            ),
        ),
    }
}

/// Why the Router lets nothing in, naming the missing line.
pub fn closed(system: &SystemName) -> String {
    format!(
        "System {system} is closed to the Router: its document has no `default_auth` line (`default_auth: none` lets everyone in)"
    )
}

impl Admission {
    /// Whether both ask callers for the same, wherever that is written.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self == other
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::Open => "none".to_owned(),
            Self::AnyOf(ways) => ways.join(" or "),
            Self::Unstated => "not stated: closed to the Router".to_owned(),
        }
    }
}
