//! Which requests a route takes: one path, and conditions that Envoy can check.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::rules::{check_header, check_value};
use crate::document::{Findings, KeyPath};
use crate::registration::check_path;
use crate::system::{Fits, HostName, Pattern, RouteMatch, Template, ValueMatch};

/// The written ways to name a path, by key.
pub(super) fn paths(matches: &RouteMatch) -> Vec<(&'static str, &String)> {
    let RouteMatch { prefix, path, regex, template, .. } = matches;
    let kinds = [("prefix", prefix), ("path", path), ("regex", regex), ("template", template)];
    kinds.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?))).collect()
}

pub(super) fn check(
    matches: &RouteMatch,
    system_hosts: &[HostName],
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    match paths(matches).as_slice() {
        [(key, text)] => {
            if let Err(reason) = check_text(key, text) {
                findings.add(&path.clone().key(key), reason);
            }
        }
        _ => findings.add(path, "expected exactly one of the keys path, prefix, regex, template"),
    }
    for (index, host) in matches.hosts.iter().enumerate() {
        if !system_hosts.iter().any(|wide| wide.covers(host)) {
            let path = path.clone().key("hosts").index(index);
            let message =
                format!("the Router sends {} elsewhere: add it to the System's hosts", host.0);
            findings.add(&path, message);
        }
    }
    twice(&matches.hosts, &path.clone().key("hosts"), findings);
    twice(&matches.methods, &path.clone().key("methods"), findings);
    for (name, condition) in &matches.headers {
        let path = path.clone().key("headers").key(name);
        check_header(name, &path, findings);
        check_condition(condition, check_value, &path, findings);
    }
    query(&matches.query, &path.clone().key("query"), findings);
}

fn check_text(key: &str, text: &str) -> Result<(), String> {
    match key {
        "regex" if text.starts_with(|first: char| first.is_ascii_alphanumeric()) => {
            Err("the whole path must fit, and a path begins with /".to_owned())
        }
        "regex" => Pattern::parse(text).map(|_| ()),
        "template" => {
            let template: Template = text.parse()?;
            Pattern::parse(&template.to_regex()).map(|_| ())
        }
        _ => check_path(text),
    }
}

fn twice<T: Ord>(items: &[T], path: &KeyPath, findings: &mut Findings<'_>) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        if !seen.insert(item) {
            findings.add(&path.clone().index(index), "is there twice");
        }
    }
}

fn check_condition(
    condition: &ValueMatch,
    check: impl Fn(&str) -> Result<(), String>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    let checked = match condition {
        ValueMatch::Present(_) => Ok(()),
        ValueMatch::Exact(value) => check(value),
        ValueMatch::Fits(Fits::Prefix(prefix)) if prefix.is_empty() => {
            Err("an empty prefix: write true for whatever value".to_owned())
        }
        ValueMatch::Fits(Fits::Prefix(prefix)) => check(prefix),
        ValueMatch::Fits(Fits::Regex(regex)) => Pattern::parse(regex).map(|_| ()),
    };
    if let Err(reason) = checked {
        findings.add(path, reason);
    }
}

fn query(query: &BTreeMap<String, ValueMatch>, path: &KeyPath, findings: &mut Findings<'_>) {
    for (name, condition) in query {
        let path = path.clone().key(name);
        if name.is_empty() || as_sent(name).is_err() || name.contains('=') {
            findings.add(&path, format!("{name:?} is not a query parameter's name as it is sent"));
        }
        check_condition(condition, as_sent, &path, findings);
    }
}

/// Parameters are compared as they are sent: nothing is decoded.
fn as_sent(text: &str) -> Result<(), String> {
    match text.chars().find(|letter| !letter.is_ascii_graphic() || "&#".contains(*letter)) {
        Some(letter) => {
            Err(format!("a query is compared as it is sent, and cannot hold {letter:?}"))
        }
        None => Ok(()),
    }
}
