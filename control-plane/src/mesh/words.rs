//! Requests and rules in words, for people.

use contract::system::{Fits, ValueMatch};

use crate::mesh::requests::METHOD;
use crate::mesh::{Action, Forward, HeaderCondition, PathMatch, Requests, Rewrite, RouteRule};

/// Which requests: `prefix /orders, GET|HEAD, x-beta is 1`.
pub fn requests(requests: &Requests) -> String {
    let conditions: String = requests.headers.iter().map(condition).collect();
    let query: String =
        requests.query.iter().map(|(name, is)| value(&format!("query {name}"), is)).collect();
    format!("{}{conditions}{query}", path(&requests.path))
}

/// What a rule does.
pub fn rule(rule: &RouteRule) -> String {
    let what = match &rule.action {
        Action::Forward(to) => forward(to),
        Action::Answer { status, body } => format!("answers {status}: {body}"),
        Action::Page { status, body, content_type } => {
            format!("answers {status}: {} bytes of {content_type}", body.len())
        }
        Action::Redirect { status, host, path } => {
            let host = host.as_ref().map_or(String::new(), |host| format!(" to host {host}"));
            let path = path.as_ref().map_or(String::new(), |path| format!(", {}", rewritten(path)));
            format!("redirects with {status}{host}{path}")
        }
    };
    let headers = &rule.treatment.headers;
    let edited = [(&headers.request, "request"), (&headers.response, "answer")];
    let edited: String = edited
        .iter()
        .filter(|(edits, _)| edits.is_some())
        .map(|(_, what)| format!(", changes headers of the {what}"))
        .collect();
    let cors = rule.treatment.cors.as_ref();
    let cors = cors.map_or(String::new(), |cors| format!(", pages of {}", cors.origins.join("|")));
    let compress = if rule.treatment.compress { ", compressed" } else { "" };
    let traced = rule.treatment.traced;
    let traced = traced.map_or(String::new(), |percent| format!(", {percent}% begin a trace"));
    format!("{what}{edited}{cors}{compress}{traced}")
}

fn path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("path {path}"),
        PathMatch::Prefix(prefix) => format!("prefix {prefix}"),
        PathMatch::Regex(regex) => format!("regex {regex}"),
        PathMatch::Template(template) => format!("template {template}"),
        PathMatch::ExactAnyCase(path) => format!("path {path} in other letters"),
        PathMatch::PrefixAnyCase(prefix) => format!("prefix {prefix} in other letters"),
    }
}

fn condition(condition: &HeaderCondition) -> String {
    match condition {
        HeaderCondition::OneOf(METHOD, methods) => format!(", {}", methods.join("|")),
        HeaderCondition::OneOf(name, values) => format!(", {name} is {}", values.join("|")),
        HeaderCondition::NoneOf(name, values) => format!(", {name} is not {}", values.join("|")),
        HeaderCondition::Is(name, is) => value(name, is),
    }
}

fn value(name: &str, is: &ValueMatch) -> String {
    match is {
        ValueMatch::Exact(value) => format!(", {name} is {value}"),
        ValueMatch::Present(true) => format!(", has {name}"),
        ValueMatch::Present(false) => format!(", has no {name}"),
        ValueMatch::Fits(Fits::Prefix(prefix)) => format!(", {name} begins with {prefix}"),
        ValueMatch::Fits(Fits::Regex(regex)) => format!(", {name} fits {regex}"),
    }
}

fn forward(forward: &Forward) -> String {
    let total: u32 = forward.targets.iter().map(|(_, weight)| weight).sum();
    let share = |weight: &u32| f64::from(*weight) * 100.0 / f64::from(total.max(1));
    let targets: Vec<String> = match forward.targets.as_slice() {
        [(target, _)] => vec![target.to_string()],
        targets => {
            targets.iter().map(|(target, weight)| format!("{}% {target}", share(weight))).collect()
        }
    };
    let timeout = forward.timeout.map_or("no time limit".to_owned(), |t| format!("{t:?}"));
    let retries = forward.retries.as_ref().map_or("no retries".to_owned(), |retries| {
        let on: Vec<&str> = retries.on.iter().map(|on| on.as_str()).collect();
        format!("{} retries on {}", retries.attempts, on.join("|"))
    });
    let rewrite = match (&forward.stripped, &forward.rewrite) {
        (Some(stripped), _) => format!(", strips {stripped}"),
        (None, Some(rewrite)) => format!(", {}", rewritten(rewrite)),
        (None, None) => String::new(),
    };
    let mirror = forward.mirror.as_ref();
    let mirror = mirror.map_or(String::new(), |(to, share)| format!(", copies {share}% to {to}"));
    format!("to {}, {timeout}, {retries}{rewrite}{mirror}", targets.join(" + "))
}

fn rewritten(rewrite: &Rewrite) -> String {
    match rewrite {
        Rewrite::Matched(to) => format!("what matched becomes {to}"),
        Rewrite::Whole(to) => format!("the path becomes {to}"),
        Rewrite::Stem { prefix, becomes } => format!("{prefix}/ becomes {becomes}"),
        Rewrite::Template(to) => format!("the path becomes {to}"),
    }
}
