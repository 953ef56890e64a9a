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
use crate::system::{Canary, Maintenance, Retries, ServicePolicy, SystemDocument};

mod admission;
mod routes;

/// The longest message of a closed System.
const MAX_MESSAGE_BYTES: usize = 2048;

/// Adds a problem for everything that cannot work although its shape is right.
pub(super) fn check(document: &Value, expected_name: Option<&str>, findings: &mut Findings<'_>) {
    let name: Option<SystemName> = part(document.get("name"));
    if let (Some(name), Some(expected)) = (&name, expected_name)
        && name.as_str() != expected
    {
        let message = format!("expected {expected}, the name under which the document is kept");
        findings.add(&KeyPath::of("name"), message);
    }
    let declared = admission::declared(document, findings);
    if let Some(choice) = part(document.get("default_auth")) {
        admission::choice(&choice, &declared, &KeyPath::of("default_auth"), findings);
    }
    maintenance(document, findings);
    unique_list(document, "hosts", findings);
    unique_list(document, "external", findings);
    callers(document, name.as_ref(), findings);
    routes::check(document, &declared, findings);
    admission::routes(document, findings);
    if let Some(canary) = part(document.pointer("/tracks/canary")) {
        check_canary(&canary, KeyPath::of("tracks"), findings);
    }
    let policies = document.get("services").and_then(Value::as_object);
    for (name, policy) in policies.into_iter().flatten() {
        let Some(ServicePolicy { retries, canary, .. }) = part(Some(policy)) else { continue };
        let path = KeyPath::of("services").key(name);
        if let Some(retries) = retries {
            check_retries(&retries, &path.clone().key("retries"), findings);
        }
        if let Some(canary) = canary {
            check_canary(&canary, path, findings);
        }
    }
}

fn check_canary(canary: &Canary, path: KeyPath, findings: &mut Findings<'_>) {
    if let Some(header) = &canary.header {
        check_header(header, &path.key("canary").key("header"), findings);
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
        let path = KeyPath::of("routes").index(index);
        let answering = route.to.iter().flat_map(|to| to.shares()).map(|(service, _)| service);
        answering.for_each(|service| check(service, path.clone().key("to")));
        if let Some(mirror) = &route.mirror {
            check(&mirror.to, path.key("mirror").key("to"));
        }
    }
    for (index, name) in document.external.iter().enumerate() {
        check(name, KeyPath::of("external").index(index));
    }
    for name in document.services.keys() {
        check(name, KeyPath::of("services").key(name.as_str()));
    }
}

/// Adds what may be meant otherwise, although it can work.
pub(super) fn check_doubts(document: &SystemDocument, findings: &mut Findings<'_>) {
    routes::check_doubts(&document.routes, findings);
}

fn part<T: DeserializeOwned>(value: Option<&Value>) -> Option<T> {
    value.and_then(|value| T::deserialize(value).ok())
}

fn items<'a>(document: &'a Value, key: &str) -> impl Iterator<Item = (usize, &'a Value)> + use<'a> {
    document.get(key).and_then(Value::as_array).into_iter().flatten().enumerate()
}

/// A page that says nothing helps nobody; a long one is no page of the Router's.
fn maintenance(document: &Value, findings: &mut Findings<'_>) {
    let Some(what) = part::<Maintenance>(document.get("maintenance")) else { return };
    let path = KeyPath::of("maintenance").key("message");
    let is_text = |letter: char| !letter.is_control() || matches!(letter, '\n' | '\t');
    if what.message.trim().is_empty() {
        findings.add(&path, "say what clients shall read, and when to come back");
    } else if what.message.len() > MAX_MESSAGE_BYTES {
        findings.add(&path, format!("{} bytes: at most {MAX_MESSAGE_BYTES}", what.message.len()));
    } else if !what.message.chars().all(is_text) {
        findings.add(&path, "a message is text: no control characters but line breaks and tabs");
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

/// A header's value: printable ASCII, with spaces inside.
fn check_value(value: &str) -> Result<(), String> {
    let is_printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if value.len() > 1024 || value.trim() != value || !value.bytes().all(is_printable) {
        return Err(
            "a value is printable ASCII, at most 1024 bytes, no space at its ends".to_owned()
        );
    }
    Ok(())
}
