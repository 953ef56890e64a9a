//! Other spellings of a path: what is refused, and what keeps a request from passing a route that guards it.
//!
//! In: the routes of a System. Out: rules that stand before others. Called for the tables of the Router and of a
//! gateway's ingress.
//!
//! Envoy normalises a path before it is routed: dot segments, doubled and backward slashes, escaped letters. What it
//! leaves alone, applications read in several ways. Two of these are as old as web servers: letter case, and parameters
//! after a semicolon. Where a request would, spelt otherwise, go past a route with one admission to a later one with
//! another, it gets 404; everywhere else such paths are the application's own business.
//!
//! **Invariants**: a spelling that a document names is taken at its word; without two admissions there is no guard.

use contract::system::{Fits, HostName, RouteMatch, Template, ValueMatch, is_within};

use crate::mesh::egress::answer;
use crate::mesh::{ExposedRoute, HeaderCondition, Origin, PathMatch, RouteRule, requests};

/// Escaped NUL, bytes that begin no UTF-8 or one longer than it need be, dot segments with a parameter.
const MISSPELT: &str = r"[^?]*(%00|%[cC][01]|%[eE]0%[89]|%[fF]0%8|%[fF][5-9a-fA-F]|/\.\.?;).*";
/// A semicolon before the query.
const PARAMETER: &str = r"[^?]*;.*";

/// Refuses paths that have no meaning, or a different one to each who reads them.
pub fn misspelt() -> RouteRule {
    let body = "this path holds an escaped NUL, bytes that are not UTF-8, or a dot segment with a parameter: no application reads it alike";
    let origin = Origin::Default("paths that can be read in two ways answer 400");
    let rule = answer(400, body.to_owned(), origin);
    RouteRule { requests: rule.requests.clone().with(path_fits(MISSPELT)), ..rule }
}

/// Refuses requests with several hosts (RFC 9112, 3.2): Envoy makes one of them, with commas between.
pub fn many_hosts() -> RouteRule {
    let body = "this request names several hosts: send one";
    let origin = Origin::Default("requests with several hosts answer 400");
    let several = ValueMatch::Fits(Fits::Regex("[^,]*,.*".to_owned()));
    let rule = answer(400, body.to_owned(), origin);
    let requests = rule.requests.clone();
    let requests = requests.with(HeaderCondition::Is(":authority".to_owned(), several));
    RouteRule { requests, ..rule }
}

/// What stands before a route so that no other spelling of an earlier one's paths comes to it.
pub fn guards(earlier: &[&ExposedRoute], route: &ExposedRoute) -> Vec<RouteRule> {
    let guarded = earlier.iter().filter(|other| {
        !other.admission.asks_the_same(&route.admission)
            && share_a_host(&other.matches, &route.matches)
            && may_take(&route.matches, &other.matches)
    });
    let mut guards: Vec<RouteRule> = guarded.map(|route| other_case(route)).collect();
    if let Some(first) = guards.first() {
        let requests = requests::of(&route.matches).with(path_fits(PARAMETER));
        guards.push(RouteRule { requests, ..refusal("a parameter (;) in its path", first) });
    }
    guards
}

fn path_fits(regex: &str) -> HeaderCondition {
    HeaderCondition::Is(":path".to_owned(), ValueMatch::Fits(Fits::Regex(regex.to_owned())))
}

/// Refuses what differs from the route's paths in letter case alone: the route itself has taken the rest.
fn other_case(route: &ExposedRoute) -> RouteRule {
    let mut requests = requests::of(&route.matches);
    requests.path = match requests.path {
        PathMatch::Exact(path) => PathMatch::ExactAnyCase(path),
        PathMatch::Prefix(prefix) => PathMatch::PrefixAnyCase(prefix),
        PathMatch::Regex(regex) => PathMatch::Regex(format!("(?i){regex}")),
        PathMatch::Template(text) => {
            let regex = text.parse::<Template>().map(|template| template.to_regex());
            PathMatch::Regex(format!("(?i){}", regex.unwrap_or_default()))
        }
        other @ (PathMatch::ExactAnyCase(_) | PathMatch::PrefixAnyCase(_)) => other,
    };
    let origin = route.origin.clone();
    let rule = answer(404, String::new(), origin);
    let rule = RouteRule { requests, ..rule };
    refusal("other letters in its path", &rule)
}

fn refusal(what: &str, like: &RouteRule) -> RouteRule {
    let body = format!(
        "nothing is at this path; it would pass a route that asks for more, with {what}: spell it as that route does"
    );
    RouteRule { requests: like.requests.clone(), ..answer(404, body, like.origin.clone()) }
}

fn share_a_host(one: &RouteMatch, other: &RouteMatch) -> bool {
    let overlap = |a: &HostName| other.hosts.iter().any(|b| a.covers(b) || b.covers(a));
    one.hosts.is_empty() || other.hosts.is_empty() || one.hosts.iter().any(overlap)
}

/// Whether the later route could take a path that is the earlier one's but for letter case, without naming it.
fn may_take(later: &RouteMatch, earlier: &RouteMatch) -> bool {
    match requests::path(later) {
        // A path is a spelling that the document names.
        PathMatch::Exact(_) | PathMatch::ExactAnyCase(_) => false,
        PathMatch::Prefix(later) | PathMatch::PrefixAnyCase(later) => {
            let later = later.to_ascii_lowercase();
            match literal_start(earlier) {
                // Narrower or equal, it names its own spelling.
                Some((start, true)) => is_within(&start, &later) && start != later,
                Some((start, false)) => is_within(&start, &later) || is_within(&later, &start),
                None => true,
            }
        }
        PathMatch::Regex(_) | PathMatch::Template(_) => {
            match (literal_start(earlier), literal_start(later)) {
                (Some((one, _)), Some((other, _))) => {
                    is_within(&one, &other) || is_within(&other, &one)
                }
                _ => true,
            }
        }
    }
}

/// What all paths of a match begin with, in small letters, and whether it is all that the match says of them;
/// `None`: nobody can tell.
fn literal_start(matches: &RouteMatch) -> Option<(String, bool)> {
    match requests::path(matches) {
        PathMatch::Exact(path) | PathMatch::ExactAnyCase(path) => {
            Some((path.to_ascii_lowercase(), true))
        }
        PathMatch::Prefix(prefix) | PathMatch::PrefixAnyCase(prefix) => {
            Some((prefix.to_ascii_lowercase(), true))
        }
        PathMatch::Template(template) => {
            let start = template.split("/{").next().unwrap_or_default();
            let start = if start.is_empty() { "/" } else { start };
            Some((start.to_ascii_lowercase(), !template.contains('{')))
        }
        PathMatch::Regex(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use contract::document;

    use super::*;
    use crate::mesh::exposure::exposed_routes;
    use crate::mesh::words;

    /// The guards before the last of these routes, in words; `staff` is not `none`.
    #[track_caller]
    fn check(routes: &str, expected: &[&str]) {
        let text = format!(
            "kind: System\nname: a\nhosts: ['*.a.org']\nauth: {{staff: {{api_key: {{header: x-key, keys: mesh/keys/a}}}}}}\ndefault_auth: none\nroutes:\n{routes}"
        );
        let document = document::parse(&text, None).unwrap();
        let (specs, services) = Default::default();
        let routes = exposed_routes(Some(&document), &specs, &services, &mut Vec::new());
        let all: Vec<&ExposedRoute> = routes.iter().collect();
        let (last, earlier) = all.split_last().unwrap();
        let guards: Vec<String> =
            guards(earlier, last).iter().map(|rule| words::requests(&rule.requests)).collect();
        assert_eq!(guards, expected, "{text}");
    }

    #[test]
    fn a_wider_route_with_another_admission_gets_no_other_spelling() {
        check(
            "- {match: {prefix: /admin}, to: o, auth: staff}\n- {match: {prefix: /}, to: o}\n",
            &["prefix /admin in other letters", r"prefix /, :path fits [^?]*;.*"],
        );
        check(
            "- {match: {template: '/u/{id}/keys', methods: [GET]}, to: o, auth: staff}\n- {match: {prefix: /u}, to: o}\n",
            &["regex (?i)/u/[!-.0-~]+/keys, GET", r"prefix /u, :path fits [^?]*;.*"],
        );
        check(
            "- {match: {path: /api/admin}, to: o, auth: staff}\n- {match: {prefix: /API}, to: o}\n",
            &["path /api/admin in other letters", r"prefix /API, :path fits [^?]*;.*"],
        );
        check(
            "- {match: {path: /admin}, to: o, auth: staff}\n- {match: {regex: '/[a-zA-Z]+'}, to: o}\n",
            &["path /admin in other letters", r"regex /[a-zA-Z]+, :path fits [^?]*;.*"],
        );
    }

    #[test]
    fn nothing_is_guarded_without_two_admissions_or_where_the_document_names_the_spelling() {
        for routes in [
            "- {match: {prefix: /admin}, to: o}\n- {match: {prefix: /}, to: o}\n",
            "- {match: {prefix: /admin}, to: o, auth: staff}\n- {match: {prefix: /other}, to: o}\n",
            "- {match: {prefix: /admin}, to: o, auth: staff}\n- {match: {prefix: /Admin}, to: o}\n",
            "- {match: {prefix: /admin}, to: o, auth: staff}\n- {match: {prefix: /ADMIN/open}, to: o}\n",
            "- {match: {prefix: /admin}, to: o, auth: staff}\n- {match: {path: /ADMIN}, to: o}\n",
            "- {match: {prefix: /x, hosts: [b.a.org]}, to: o, auth: staff}\n- {match: {prefix: /, hosts: [c.a.org]}, to: o}\n",
            "- {match: {prefix: /users}, to: o, auth: staff}\n- {match: {template: '/orders/{id}'}, to: o}\n",
        ] {
            check(routes, &[]);
        }
    }
}
