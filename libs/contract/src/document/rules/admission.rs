//! Ways to prove who calls, and what routes ask of callers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Findings, KeyPath, check_header, part};
use crate::system::{AuthChoice, AuthMethod, Jwks};

/// Checks each declared way; gives their names, those with problems too.
pub(super) fn declared(document: &Value, findings: &mut Findings<'_>) -> BTreeSet<String> {
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
                check_header(&key.header, &path.key("api_key").key("header"), findings);
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
