//! Requests that go in a circle: A calls B, whose service calls A again, and so on.
//!
//! In: the header in which gateways write their Systems, one after the other. Out: what a table writes there, and the
//! rule that refuses a request with too many. Services pass the header on with what they ask because of a request, as
//! they do with those of traces: no proxy sees which call follows from which.
//!
//! **Invariants**: the header has one line; where clients connect it begins anew.

use contract::name::SystemName;
use contract::system::{Fits, ValueMatch};

use crate::mesh::egress::answer;
use crate::mesh::{CALLER_SYSTEM, HeaderCondition, Origin, RouteRule};

/// The header that lists where a request has been: the System in which it began, then each gateway's.
pub const HOPS: &str = "x-mesh-hops";
/// A request that has been in so many Systems is relayed no further.
pub const LIMIT: usize = 8;

/// What a gateway's table writes into [`HOPS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// The request comes from a client: its way begins here.
    First(SystemName),
    /// It comes from another System.
    Next(SystemName),
}

impl Hop {
    /// The header's value, in Envoy's command language. What calls for the first time names its System otherwise.
    pub fn value(&self) -> String {
        match self {
            Self::First(system) => system.to_string(),
            Self::Next(system) => format!("%REQ({HOPS}?{CALLER_SYSTEM})%,{system}"),
        }
    }
}

/// The values of [`HOPS`] that name [`LIMIT`] Systems or more, as a regular expression.
pub fn too_many() -> String {
    format!("[^,]*(,[^,]*){{{},}}", LIMIT - 1)
}

/// Refuses what has been in too many Systems.
pub fn guard(system: &SystemName) -> RouteRule {
    let body = format!(
        "System {system} relays this request no further: it has been in {LIMIT} Systems, whose services seem to call each other in a circle"
    );
    let origin = Origin::Default("a request is relayed through eight Systems at most");
    let rule = answer(508, body, origin);
    let many = HeaderCondition::Is(HOPS.to_owned(), ValueMatch::Fits(Fits::Regex(too_many())));
    RouteRule { requests: rule.requests.clone().with(many), ..rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_request_begins_a_list_and_others_continue_it() {
        let trading: SystemName = "trading".parse().unwrap();
        assert_eq!(Hop::First(trading.clone()).value(), "trading");
        let next = "%REQ(x-mesh-hops?x-mesh-caller-system)%,trading";
        assert_eq!(Hop::Next(trading).value(), next);
    }

    #[test]
    fn eight_systems_are_too_many() {
        assert_eq!(too_many(), "[^,]*(,[^,]*){7,}");
    }
}
