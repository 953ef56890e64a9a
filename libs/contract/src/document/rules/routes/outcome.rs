//! What becomes of a request: one outcome, and only what fits it.

use std::collections::BTreeMap;

use crate::document::rules::{check_header, check_value};
use crate::document::{Findings, KeyPath};
use crate::registration::check_path;
use crate::system::{
    Answer, Convert, Cors, Cover, Destination, HeaderEdits, Pattern, Reach, Redirect, Route,
    RouteMatch, Template,
};

/// What Envoy takes as an answer's body.
const MAX_BODY: usize = 4096;
/// What Envoy takes as an expression, with room for the parts around it.
const MAX_STEM: usize = 80;
/// Headers that are the connection's own (RFC 9110, section 7.6.1), or say how long a body is.
const CONNECTION: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

pub(super) fn check(route: &Route, path: &KeyPath, findings: &mut Findings<'_>) {
    let written =
        [route.to.is_some(), route.redirect.is_some(), route.answer.is_some()].map(usize::from);
    if written.iter().sum::<usize>() != 1 {
        findings.add(path, "expected exactly one of the keys to, redirect, answer");
    }
    match &route.to {
        Some(to) => check_to(to, route, &path.clone().key("to"), findings),
        None => forwarded_only(route, path, findings),
    }
    if let Some(redirect) = &route.redirect {
        check_redirect(redirect, &route.matches, &path.clone().key("redirect"), findings);
    }
    if let Some(answer) = &route.answer {
        check_answer(answer, &path.clone().key("answer"), findings);
    }
    if let Some(rewrite) = &route.rewrite
        && let Err(reason) = check_rewrite(rewrite, &route.matches)
    {
        findings.add(&path.clone().key("rewrite"), reason);
    }
    if let Some(cors) = &route.cors {
        check_cors(cors, &path.clone().key("cors"), findings);
    }
    if let Some(Convert { grpc, .. }) = &route.convert
        && grpc.is_empty()
    {
        findings.add(&path.clone().key("convert").key("grpc"), "name at least one gRPC service");
    }
    let changes = route.headers.iter();
    let edits = changes.flat_map(|c| [("request", &c.request), ("response", &c.response)]);
    for (key, edits) in edits {
        let path = path.clone().key("headers").key(key);
        edits.iter().for_each(|edits| check_edits(edits, &path, findings));
    }
}

fn check_to(to: &Destination, route: &Route, path: &KeyPath, findings: &mut Findings<'_>) {
    let Destination::Split(shares) = to else { return };
    // Too many, each too large, cannot overflow this.
    let sum: u64 = shares.values().map(|share| u64::from(*share)).sum();
    if sum != 100 {
        findings.add(path, format!("the shares sum to {sum}, not to 100"));
    }
    for (service, share) in shares {
        if *share == 0 {
            findings.add(&path.clone().key(service.as_str()), "no share: take the service out");
        }
    }
    if route.convert.is_some() {
        findings.add(path, "convert needs one service: which one describes the methods?");
    }
}

/// What a gateway that sends nothing on cannot do.
fn forwarded_only(route: &Route, path: &KeyPath, findings: &mut Findings<'_>) {
    for (key, is_written) in [
        ("rewrite", route.rewrite.is_some()),
        ("timeout", route.timeout.is_some()),
        ("retries", route.retries.is_some()),
        ("mirror", route.mirror.is_some()),
        ("convert", route.convert.is_some()),
        ("cors", route.cors.is_some()),
    ] {
        if is_written {
            findings.add(&path.clone().key(key), "only for a route with the key to");
        }
    }
    if route.headers.as_ref().is_some_and(|headers| headers.request.is_some()) {
        let path = path.clone().key("headers").key("request");
        findings.add(&path, "only for a route with the key to");
    }
}

fn check_redirect(
    redirect: &Redirect,
    matches: &RouteMatch,
    path: &KeyPath,
    findings: &mut Findings<'_>,
) {
    let Redirect { host, path: to, prefix, status } = redirect;
    if host.is_none() && to.is_none() && prefix.is_none() {
        findings.add(path, "expected at least one of the keys host, path, prefix");
    }
    if to.is_some() && prefix.is_some() {
        findings.add(path, "expected at most one of the keys path, prefix");
    }
    for (key, text) in [("path", to), ("prefix", prefix)] {
        if let Some(text) = text
            && let Err(reason) = check_path(text).and_then(|()| check_stem(text, matches))
        {
            findings.add(&path.clone().key(key), reason);
        }
    }
    if prefix.is_some() && matches.prefix.is_none() {
        findings.add(&path.clone().key("prefix"), "only where the route matches a prefix");
    }
    if host.as_ref().is_some_and(|host| host.0.starts_with('*')) {
        findings.add(&path.clone().key("host"), "expected one host");
    }
    if status.is_some_and(|status| !matches!(status, 301 | 302 | 303 | 307 | 308)) {
        findings.add(&path.clone().key("status"), "expected 301, 302, 303, 307 or 308");
    }
    let again = RouteMatch {
        prefix: prefix.clone(),
        path: to.clone(),
        regex: None,
        template: None,
        ..matches.clone()
    };
    let loops = host.is_none() && (prefix.is_some() || to.is_some());
    if loops && Reach::of(matches).covers(&Reach::of(&again)) == Cover::All {
        findings.add(path, "the client would be sent to this same route again");
    }
}

fn check_answer(answer: &Answer, path: &KeyPath, findings: &mut Findings<'_>) {
    if answer.body.len() > MAX_BODY {
        let message = format!("{} bytes: at most {MAX_BODY}", answer.body.len());
        findings.add(&path.clone().key("body"), message);
    }
    if matches!(answer.status, 204 | 205 | 304) && !answer.body.is_empty() {
        findings.add(&path.clone().key("body"), format!("{} has no body", answer.status));
    }
    if let Some(kind) = &answer.content_type
        && (check_value(kind).is_err() || !kind.contains('/'))
    {
        findings.add(&path.clone().key("content_type"), "expected a type such as text/html");
    }
}

fn check_rewrite(rewrite: &str, matches: &RouteMatch) -> Result<(), String> {
    match (&matches.template, &matches.regex) {
        (Some(template), _) => {
            // A template with a problem of its own has been told.
            let Ok(template) = template.parse::<Template>() else { return Ok(()) };
            template.parse_rewrite(rewrite)?;
        }
        (_, Some(_)) => {
            return Err("what a regex matches is not rewritten: match a template".to_owned());
        }
        _ => check_path(rewrite)?,
    }
    check_stem(rewrite, matches)
}

/// What becomes of `/prefix` and of `/prefix/…` alike is an expression at the proxy.
fn check_stem(to: &str, matches: &RouteMatch) -> Result<(), String> {
    let Some(prefix) = &matches.prefix else { return Ok(()) };
    if to.ends_with('/') && !prefix.ends_with('/') && prefix.len() > MAX_STEM {
        return Err(format!(
            "a prefix of more than {MAX_STEM} bytes and what it becomes both end with a slash, or neither does"
        ));
    }
    Ok(())
}

pub(super) fn check_cors(cors: &Cors, path: &KeyPath, findings: &mut Findings<'_>) {
    if cors.origins.is_empty() {
        findings.add(&path.clone().key("origins"), "name at least one origin");
    }
    for (index, origin) in cors.origins.iter().enumerate() {
        let path = path.clone().key("origins").index(index);
        if origin == "*" {
            if cors.credentials {
                findings.add(&path, "credentials go to origins that are named, never to *");
            }
            if cors.origins.len() > 1 {
                findings.add(&path, "* stands alone: it makes the other origins moot");
            }
        } else if !is_origin(origin) {
            let message = format!(
                "{origin:?} is not an origin: https://app.example.com, https://*.example.com or *"
            );
            findings.add(&path, message);
        } else if let Some(Err(reason)) =
            Cors::origin_pattern(origin).map(|pattern| Pattern::parse(&pattern))
        {
            findings.add(&path, reason);
        }
    }
    for (key, names) in [("headers", &cors.headers), ("expose", &cors.expose)] {
        for (index, name) in names.iter().enumerate() {
            check_header(name, &path.clone().key(key).index(index), findings);
        }
    }
}

/// Scheme, host and perhaps port in lower case, as browsers send it: no path.
fn is_origin(origin: &str) -> bool {
    let Some((scheme, host)) = origin.split_once("://") else { return false };
    let host = host.strip_prefix("*.").unwrap_or(host);
    let (host, port) = host.split_once(':').map_or((host, None), |(h, p)| (h, Some(p)));
    let is_host = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    matches!(scheme, "http" | "https")
        && !host.is_empty()
        && host.bytes().all(is_host)
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn check_edits(edits: &HeaderEdits, path: &KeyPath, findings: &mut Findings<'_>) {
    let both: [(&str, &BTreeMap<String, String>); 2] = [("set", &edits.set), ("add", &edits.add)];
    for (key, values) in both {
        for (name, value) in values {
            let path = path.clone().key(key).key(name);
            check_edited(name, &path, findings);
            if let Err(reason) = check_value(value) {
                findings.add(&path, reason);
            }
            if edits.remove.contains(name) || (key == "add" && edits.set.contains_key(name)) {
                findings.add(&path, "one header is changed in one way");
            }
        }
    }
    for (index, name) in edits.remove.iter().enumerate() {
        check_edited(name, &path.clone().key("remove").index(index), findings);
    }
}

/// A header that a document may change.
fn check_edited(name: &str, path: &KeyPath, findings: &mut Findings<'_>) {
    if CONNECTION.contains(&name) {
        findings.add(path, format!("{name} is the connection's own: no document changes it"));
    } else if name.starts_with("x-mesh-") || name.starts_with("x-envoy-") {
        findings
            .add(path, format!("{name}: what begins with x-mesh- or x-envoy- is the mesh's own"));
    } else {
        check_header(name, path, findings);
    }
}
