//! Ways to prove who calls, what routes ask of callers, and how often they may come.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Findings, KeyPath, check_header, items, part};
use crate::name::ServiceName;
use crate::system::{
    AuthChoice, AuthMethod, HttpAddress, Jwks, Jwt, Rate, RateLimits, Requirement, Route,
};

mod jwks;

/// Envoy counts no shorter time.
const SHORTEST_RATE: std::time::Duration = std::time::Duration::from_millis(50);

/// Checks each declared way; gives their names, those with problems too.
pub(super) fn declared(document: &Value, findings: &mut Findings<'_>) -> BTreeSet<String> {
    let mut declared = BTreeSet::new();
    for (name, method) in document.get("auth").and_then(Value::as_object).into_iter().flatten() {
        let path = KeyPath::of("auth").key(name);
        declared.insert(name.clone());
        if name == "none" {
            findings.add(&path, "the word none means no authentication: choose another name");
        } else if let Err(error) = name.parse::<ServiceName>() {
            // Services are told the name in a header.
            findings.add(&path, error.to_string());
        }
        match part(Some(method)) {
            Some(AuthMethod::Jwt(jwt)) => check_jwt(&jwt, &path.key("jwt"), findings),
            Some(AuthMethod::ApiKey(key)) => {
                check_own_header(&key.header, &path.key("api_key").key("header"), findings);
            }
            None => {}
        }
    }
    declared
}

fn check_jwt(jwt: &Jwt, path: &KeyPath, findings: &mut Findings<'_>) {
    if jwt.issuer.is_empty() {
        findings.add(&path.clone().key("issuer"), "expected the tokens' iss claim");
    }
    check_jwks(&jwt.jwks, &path.clone().key("jwks"), findings);
    if let Some(header) = &jwt.header {
        check_own_header(header, &path.clone().key("header"), findings);
    }
    if let Some(claim) = &jwt.consumer {
        check_claim(claim, &path.clone().key("consumer"), findings);
    }
    let mut taken: BTreeMap<&String, &String> = BTreeMap::new();
    for (claim, header) in &jwt.claims {
        let path = path.clone().key("claims").key(claim);
        check_claim(claim, &path, findings);
        check_own_header(header, &path, findings);
        if let Some(other) = taken.insert(header, claim) {
            findings.add(&path, format!("{header} is already the header of claim {other}"));
        }
    }
    if let Some(leeway) = jwt.leeway.map(|leeway| leeway.as_duration())
        && (leeway.is_zero() || leeway.subsec_nanos() > 0)
    {
        findings.add(&path.clone().key("leeway"), "expected whole seconds, at least 1s");
    }
}

fn check_jwks(jwks: &Jwks, path: &KeyPath, findings: &mut Findings<'_>) {
    match (&jwks.url, &jwks.inline) {
        (Some(url), None) => match url.parse::<HttpAddress>() {
            Err(reason) => findings.add(&path.clone().key("url"), reason),
            Ok(address) if !address.is_tls && jwks.ca_file.is_some() => {
                findings.add(&path.clone().key("ca_file"), "the url is not https: take one out");
            }
            Ok(_) => {}
        },
        (None, Some(text)) => {
            if let Err(reason) = jwks::check(text) {
                findings.add(&path.clone().key("inline"), reason);
            }
            if jwks.ca_file.is_some() {
                findings.add(&path.clone().key("ca_file"), "belongs to a url: take it out");
            }
        }
        _ => findings.add(path, "expected exactly one of the keys inline, url"),
    }
    if jwks.ca_file.as_ref().is_some_and(|file| !file.starts_with('/')) {
        findings.add(&path.clone().key("ca_file"), "expected a path from the root, such as /etc/…");
    }
}

/// A header of the System's own: none that the mesh or Envoy gives a meaning.
fn check_own_header(name: &str, path: &KeyPath, findings: &mut Findings<'_>) {
    check_header(name, path, findings);
    let reserved = ["x-mesh-", "x-envoy-", "x-forwarded-"];
    if let Some(prefix) = reserved.into_iter().find(|prefix| name.starts_with(prefix)) {
        findings.add(path, format!("{prefix} begins the mesh's own headers: choose another"));
    }
}

fn check_claim(claim: &str, path: &KeyPath, findings: &mut Findings<'_>) {
    let is_part = |part: &str| !part.is_empty() && !part.contains(char::is_control);
    if !claim.split('.').all(is_part) {
        let message = format!("{claim:?} is not a claim: dots stand between names, a.b is b in a");
        findings.add(path, message);
    }
}

/// What each route asks of callers, and how often they may come.
pub(super) fn routes(document: &Value, findings: &mut Findings<'_>) {
    let default: Option<AuthChoice> = part(document.get("default_auth"));
    if let Some(limits) = part(document.get("limits")) {
        check_limits(&limits, &KeyPath::of("limits"), findings);
    }
    for (index, value) in items(document, "routes") {
        let Some(route) = part::<Route>(Some(value)) else { continue };
        let path = KeyPath::of("routes").index(index);
        let auth = route.auth.as_ref().or(default.as_ref());
        let is_open = matches!(auth, Some(AuthChoice::One(name)) if name == "none");
        if let Some(require) = &route.require {
            let path = path.clone().key("require");
            if is_open {
                findings.add(&path, "auth none proves nothing that could be required of callers");
            }
            check_requirement(require, &path, findings);
        }
        if let Some(limits) = &route.limits {
            let path = path.key("limits");
            check_limits(limits, &path, findings);
            if is_open && limits.consumer.is_some() {
                findings.add(&path.key("consumer"), "auth none knows no consumers: use all");
            }
        }
    }
}

fn check_requirement(require: &Requirement, path: &KeyPath, findings: &mut Findings<'_>) {
    for (index, scope) in require.scopes.iter().enumerate() {
        if scope.is_empty() || !scope.bytes().all(|byte| byte.is_ascii_graphic()) {
            let path = path.clone().key("scopes").index(index);
            findings.add(&path, format!("{scope:?} is not a scope: one word of plain letters"));
        }
    }
    for (claim, values) in &require.claims {
        let path = path.clone().key("claims").key(claim);
        check_claim(claim, &path, findings);
        if values.is_empty() {
            findings.add(&path, "the list is empty: name the values, or take the claim out");
        }
    }
}

fn check_limits(limits: &RateLimits, path: &KeyPath, findings: &mut Findings<'_>) {
    for (key, rate) in [("all", limits.all), ("consumer", limits.consumer)] {
        if let Some(Rate { per, .. }) = rate
            && per.as_duration() < SHORTEST_RATE
        {
            findings.add(&path.clone().key(key).key("per"), "expected 50ms or more");
        }
    }
}

/// A choice names declared ways, or `none` alone.
pub(super) fn choice(
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
