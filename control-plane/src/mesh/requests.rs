//! What a document's match says → [`Requests`], as every table has them.
//!
//! **Invariants**: hosts are no conditions here: they are virtual hosts (`gateway.rs`).

use contract::system::{RouteMatch, ValueMatch};

use crate::mesh::{HeaderCondition, PathMatch, Requests};

/// The pseudo-header of the method.
pub const METHOD: &str = ":method";

/// The requests of a match, hosts aside.
pub fn of(matches: &RouteMatch) -> Requests {
    let headers = matches.headers.iter().map(|(n, is)| HeaderCondition::Is(n.clone(), is.clone()));
    Requests {
        path: path(matches),
        headers: methods(matches).into_iter().chain(headers).collect(),
        query: query(matches),
    }
}

/// What browsers ask before a page of another origin may send such a request (Fetch, CORS preflight): the headers of
/// the request to come are not among it.
pub fn preflight(matches: &RouteMatch) -> Requests {
    let asked = "access-control-request-method";
    let asked = match methods(matches) {
        Some(HeaderCondition::OneOf(_, methods)) => HeaderCondition::OneOf(asked, methods),
        _ => HeaderCondition::Is(asked.to_owned(), ValueMatch::Present(true)),
    };
    Requests { path: path(matches), headers: vec![], query: query(matches) }
        .with(HeaderCondition::OneOf(METHOD, vec!["OPTIONS".to_owned()]))
        .with(HeaderCondition::Is("origin".to_owned(), ValueMatch::Present(true)))
        .with(asked)
}

/// The path of a match that names one, as documents do.
pub fn path(matches: &RouteMatch) -> PathMatch {
    let RouteMatch { prefix, path, regex, template, .. } = matches;
    match (prefix, path, regex, template) {
        (_, Some(path), ..) => PathMatch::Exact(path.clone()),
        (_, _, Some(regex), _) => PathMatch::Regex(regex.clone()),
        (.., Some(template)) => PathMatch::Template(template.clone()),
        (prefix, ..) => PathMatch::Prefix(prefix.clone().unwrap_or_else(|| "/".to_owned())),
    }
}

fn methods(matches: &RouteMatch) -> Option<HeaderCondition> {
    let methods = matches.methods.iter().map(|method| method.as_str().to_owned()).collect();
    (!matches.methods.is_empty()).then_some(HeaderCondition::OneOf(METHOD, methods))
}

fn query(matches: &RouteMatch) -> Vec<(String, ValueMatch)> {
    matches.query.iter().map(|(name, is)| (name.clone(), is.clone())).collect()
}
