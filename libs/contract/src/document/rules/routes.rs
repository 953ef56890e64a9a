//! Routes: what each matches, that something can reach it, and what happens then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Findings, KeyPath, admission, check_retries, items, part};
use crate::registration::check_path;
use crate::system::{Convert, Route, RouteMatch};

pub(super) fn check(document: &Value, declared: &BTreeSet<String>, findings: &mut Findings<'_>) {
    let mut prefixes: BTreeMap<String, usize> = BTreeMap::new();
    let mut exact: BTreeMap<String, usize> = BTreeMap::new();
    for (index, value) in items(document, "routes") {
        let Some(route) = part::<Route>(Some(value)) else { continue };
        let path = KeyPath::of("routes").index(index);
        if let Some(choice) = &route.auth {
            admission::choice(choice, declared, &path.clone().key("auth"), findings);
        }
        if let Some(retries) = &route.retries {
            check_retries(retries, &path.clone().key("retries"), findings);
        }
        if let Some(Convert { grpc, .. }) = &route.convert
            && grpc.is_empty()
        {
            findings
                .add(&path.clone().key("convert").key("grpc"), "name at least one gRPC service");
        }
        one_outcome(&route, &path, findings);
        let RouteMatch { prefix, path: exact_path, regex, template, .. } = &route.matches;
        let kinds =
            [("prefix", prefix), ("path", exact_path), ("regex", regex), ("template", template)];
        let written: Vec<(&str, &String)> =
            kinds.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?))).collect();
        let path = path.key("match");
        let [(key, text)] = written.as_slice() else {
            findings.add(&path, "expected exactly one of the keys path, prefix, regex, template");
            continue;
        };
        let path = path.key(key);
        if matches!(*key, "regex" | "template") {
            continue;
        }
        let taken = match exact_path {
            None => covering(&prefixes, text),
            Some(text) => exact.get(text).copied().or_else(|| covering(&prefixes, text)),
        };
        if let Err(reason) = check_path(text) {
            findings.add(&path, reason);
        } else if let Some(earlier) = taken {
            findings.add(&path, format!("never reached: routes[{earlier}] takes these requests"));
        }
        if takes_all_below(&route.matches) {
            let known = if exact_path.is_some() { &mut exact } else { &mut prefixes };
            known.entry((*text).clone()).or_insert(index);
        }
    }
}

/// Whether nothing but the path decides.
fn takes_all_below(matches: &RouteMatch) -> bool {
    matches.hosts.is_empty()
        && matches.methods.is_empty()
        && matches.headers.is_empty()
        && matches.query.is_empty()
}

fn one_outcome(route: &Route, path: &KeyPath, findings: &mut Findings<'_>) {
    let written =
        [route.to.is_some(), route.redirect.is_some(), route.answer.is_some()].map(usize::from);
    if written.iter().sum::<usize>() != 1 {
        findings.add(path, "expected exactly one of the keys to, redirect, answer");
    }
}

/// The earliest route whose prefix takes everything that this path or prefix would.
fn covering(prefixes: &BTreeMap<String, usize>, path: &str) -> Option<usize> {
    let covers = |prefix: &str| {
        let prefix = prefix.trim_end_matches('/');
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    prefixes.iter().filter(|(prefix, _)| covers(prefix)).map(|(_, index)| *index).min()
}
