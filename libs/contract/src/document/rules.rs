//! What a schema cannot say: names that must be declared, routes that nothing can reach, values that Envoy would refuse.
//!
//! In: the document as JSON, part by part, so that a part with a wrong shape hides nothing of the others.
//! Out: problems. Called by `document.rs`.
//!
//! **Invariants**: a part that the schema refused is skipped here, its problem is known.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Findings, KeyPath};
use crate::name::{ServiceName, SystemName};
use crate::registration::check_path;
use crate::system::{
    AuthChoice, AuthMethod, Canary, Convert, Jwks, Retries, Route, RouteMatch, ServicePolicy,
    SystemDocument,
};

/// Adds a problem for everything that cannot work although its shape is right.
pub(super) fn check(document: &Value, expected_name: Option<&str>, findings: &mut Findings<'_>) {
    let name: Option<SystemName> = part(document.get("name"));
    if let (Some(name), Some(expected)) = (&name, expected_name)
        && name.as_str() != expected
    {
        let message = format!("expected {expected}, the name under which the document is kept");
        findings.add(&KeyPath::of("name"), message);
    }
    let declared = auth(document, findings);
    if let Some(choice) = part(document.get("default_auth")) {
        check_auth(&choice, &declared, &KeyPath::of("default_auth"), findings);
    }
    unique_list(document, "hosts", findings);
    unique_list(document, "external", findings);
    callers(document, name.as_ref(), findings);
    routes(document, &declared, findings);
    if let Some(canary) = part::<Canary>(document.pointer("/tracks/canary"))
        && let Some(header) = &canary.header
    {
        let path = KeyPath::of("tracks").key("canary").key("header");
        check_header(header, &path, findings);
    }
    let policies = document.get("services").and_then(Value::as_object);
    for (name, policy) in policies.into_iter().flatten() {
        if let Some(ServicePolicy { retries: Some(retries), .. }) = part(Some(policy)) {
            let path = KeyPath::of("services").key(name).key("retries");
            check_retries(&retries, &path, findings);
        }
    }
}

/// Adds a problem for each service that the registry does not have.
pub(super) fn check_services(
    document: &SystemDocument,
    known: &BTreeSet<ServiceName>,
    findings: &mut Findings<'_>,
) {
    let mut check = |name: &ServiceName, path: KeyPath| {
        if !known.contains(name) {
            findings.add(&path, format!("no service {name} is registered"));
        }
    };
    for (index, route) in document.routes.iter().enumerate() {
        check(&route.to, KeyPath::of("routes").index(index).key("to"));
    }
    for (index, name) in document.external.iter().enumerate() {
        check(name, KeyPath::of("external").index(index));
    }
    for name in document.services.keys() {
        check(name, KeyPath::of("services").key(name.as_str()));
    }
}

fn part<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    value.and_then(|value| T::deserialize(value).ok())
}

fn items<'a>(document: &'a Value, key: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    document.get(key).and_then(Value::as_array).into_iter().flatten().enumerate()
}

/// Checks each declared way; gives their names, those with problems too.
fn auth(document: &Value, findings: &mut Findings<'_>) -> BTreeSet<String> {
    let mut declared = BTreeSet::new();
    for (name, method) in document.get("auth").and_then(Value::as_object).into_iter().flatten() {
        let path = KeyPath::of("auth").key(name);
        declared.insert(name.clone());
        if name == "none" {
            findings.add(&path, "the word none means no authentication: choose another name");
        }
        match part(Some(method)) {
            Some(AuthMethod::Jwt(jwt)) => {
                check_jwks(&jwt.jwks, &path.key("jwt").key("jwks"), findings);
            }
            Some(AuthMethod::ApiKey(key)) => {
                let path = path.key("api_key");
                check_header(&key.header, &path.clone().key("header"), findings);
                if key.keys.trim_matches('/').is_empty() {
                    findings.add(&path.key("keys"), "expected a folder of Consul's KV");
                }
            }
            None => {}
        }
    }
    declared
}

fn check_jwks(jwks: &Jwks, path: &KeyPath, findings: &mut Findings<'_>) {
    match jwks {
        Jwks::Url(url) => {
            let is_url = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"))
                .is_some_and(|rest| {
                    !rest.is_empty()
                        && !rest.starts_with('/')
                        && rest.bytes().all(|byte| byte.is_ascii_graphic())
                });
            if !is_url {
                findings.add(&path.clone().key("url"), "expected an http:// or https:// address");
            }
        }
        Jwks::Inline(text) => {
            let path = path.clone().key("inline");
            match serde_json::from_str::<Value>(text) {
                Err(error) => findings.add(&path, format!("not JSON: {error}")),
                Ok(set) if set.get("keys").and_then(Value::as_array).is_none_or(Vec::is_empty) => {
                    findings
                        .add(&path, "expected a JSON object with a list keys that is not empty");
                }
                Ok(_) => {}
            }
        }
    }
}

fn check_auth(
    choice: &AuthChoice,
    declared: &BTreeSet<String>,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    let undeclared =
        |name: &str| format!("{name:?} is not declared under auth; without authentication: none");
    match choice {
        AuthChoice::One(name) if name == "none" || declared.contains(name) => {}
        AuthChoice::One(name) => findings.add(path, undeclared(name)),
        AuthChoice::AnyOf(names) if names.is_empty() => {
            findings.add(path, "the list is empty: name a way, or write none");
        }
        AuthChoice::AnyOf(names) => {
            for (index, name) in names.iter().enumerate() {
                let path = path.clone().index(index);
                if name == "none" {
                    findings.add(&path, "none stands alone: it would make the other ways moot");
                } else if !declared.contains(name) {
                    findings.add(&path, undeclared(name));
                } else if names.iter().take(index).any(|earlier| earlier == name) {
                    findings.add(&path, format!("{name} is named twice"));
                }
            }
        }
    }
}

fn callers(document: &Value, own: Option<&SystemName>, findings: &mut Findings<'_>) {
    unique_list(document, "callers", findings);
    for (index, value) in items(document, "callers") {
        if own.is_some_and(|own| value.as_str() == Some(own.as_str())) {
            let path = KeyPath::of("callers").index(index);
            findings.add(&path, "the System itself needs no leave: its services call each other");
        }
    }
}

fn unique_list(document: &Value, key: &str, findings: &mut Findings<'_>) {
    let mut first = BTreeMap::new();
    for (index, value) in items(document, key) {
        let Some(text) = value.as_str() else { continue };
        if let Some(earlier) = first.insert(text, index) {
            let path = KeyPath::of(key).index(index);
            findings.add(&path, format!("{text} is already {key}[{earlier}]"));
        }
    }
}

fn routes(document: &Value, declared: &BTreeSet<String>, findings: &mut Findings<'_>) {
    let mut prefixes: BTreeMap<String, usize> = BTreeMap::new();
    let mut exact: BTreeMap<String, usize> = BTreeMap::new();
    for (index, value) in items(document, "routes") {
        let Some(route) = part::<Route>(Some(value)) else { continue };
        let path = KeyPath::of("routes").index(index);
        if let Some(choice) = &route.auth {
            check_auth(choice, declared, &path.clone().key("auth"), findings);
        }
        if let Some(retries) = &route.retries {
            check_retries(retries, &path.clone().key("retries"), findings);
        }
        if let Some(Convert { grpc }) = &route.convert
            && grpc.is_empty()
        {
            findings
                .add(&path.clone().key("convert").key("grpc"), "name at least one gRPC service");
        }
        let (key, text, taken) = match &route.matches {
            RouteMatch::Prefix(prefix) => ("prefix", prefix, covering(&prefixes, prefix)),
            RouteMatch::Path(text) => {
                let same = exact.get(text).copied();
                ("path", text, same.or_else(|| covering(&prefixes, text)))
            }
        };
        let path = path.key("match").key(key);
        if let Err(reason) = check_path(text) {
            findings.add(&path, reason);
        } else if let Some(earlier) = taken {
            findings.add(&path, format!("never reached: routes[{earlier}] takes these requests"));
        }
        match &route.matches {
            RouteMatch::Prefix(prefix) => prefixes.entry(prefix.clone()).or_insert(index),
            RouteMatch::Path(text) => exact.entry(text.clone()).or_insert(index),
        };
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

fn check_retries(retries: &Retries, path: &KeyPath, findings: &mut Findings<'_>) {
    if retries.on.is_empty() {
        findings.add(&path.clone().key("on"), "name at least one failure, or take retries out");
    }
    if !(1..=10).contains(&retries.attempts) {
        findings.add(&path.clone().key("attempts"), "expected 1 to 10");
    }
}

/// A header that a person may name: no pseudo-header, and lower case because proxies see it so.
fn check_header(name: &str, path: &KeyPath, findings: &mut Findings<'_>) {
    let is_token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.!#$%&'*+^`|~".contains(&byte)
    };
    if name.is_empty() || name.len() > 128 || !name.bytes().all(is_token) {
        let message = format!("{name:?} is not a header name: lower-case letters, digits and '-'");
        findings.add(path, message);
    } else if matches!(name, "host" | "content-length" | "transfer-encoding" | "connection") {
        findings.add(path, format!("{name} has a meaning of its own: choose another header"));
    }
}
