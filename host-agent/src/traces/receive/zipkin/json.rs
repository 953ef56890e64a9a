//! The JSON form. A span that cannot be read costs only itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::Refusal;
use super::{Endpoint, Kind, Span};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    #[serde(borrow)]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parent_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
    name: Option<String>,
    timestamp: Option<u64>,
    duration: Option<u64>,
    local_endpoint: Option<JsonEndpoint>,
    remote_endpoint: Option<JsonEndpoint>,
    annotations: Option<Vec<JsonAnnotation>>,
    tags: Option<BTreeMap<String, String>>,
    debug: Option<bool>,
    shared: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonEndpoint {
    service_name: Option<String>,
    ipv4: Option<String>,
    ipv6: Option<String>,
    port: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct JsonAnnotation {
    timestamp: Option<u64>,
    value: Option<String>,
}

/// The spans of an array, and how many of its items are none.
pub(super) fn read(body: &[u8]) -> Result<(Vec<Span>, u32), Refusal> {
    let items: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|error| Refusal::Malformed(error.to_string()))?;
    let mut malformed = 0;
    let mut spans = Vec::with_capacity(items.len());
    for item in items {
        match serde_json::from_str::<JsonSpan<'_>>(item.get()) {
            Ok(span) => spans.push(span.into()),
            Err(_) => malformed += 1,
        }
    }
    Ok((spans, malformed))
}

impl From<JsonSpan<'_>> for Span {
    fn from(json: JsonSpan<'_>) -> Self {
        let short = |text: &str| hex(text, 16).and_then(|id| u64::try_from(id).ok());
        let written = json.parent_id.as_deref().filter(|text| !text.is_empty());
        let parent = written.and_then(short);
        let annotations = json.annotations.unwrap_or_default().into_iter();
        Self {
            trace: json.trace_id.and_then(|text| hex(&text, 32)),
            id: json.id.and_then(|text| short(&text)),
            parent,
            is_parent_bad: parent.is_none() && written.is_some(),
            kind: json.kind.as_deref().map_or(Kind::Local, kind),
            name: json.name.unwrap_or_default(),
            start_us: json.timestamp.unwrap_or_default(),
            duration_us: json.duration.unwrap_or_default(),
            local: json.local_endpoint.unwrap_or_default().into(),
            remote: json.remote_endpoint.unwrap_or_default().into(),
            annotations: annotations
                .map(|one| (one.timestamp.unwrap_or_default(), one.value.unwrap_or_default()))
                .collect(),
            tags: json.tags.unwrap_or_default(),
            is_debug: json.debug.unwrap_or_default(),
            is_shared: json.shared.unwrap_or_default(),
        }
    }
}

impl From<JsonEndpoint> for Endpoint {
    fn from(json: JsonEndpoint) -> Self {
        let address = |text: Option<String>| text?.parse::<IpAddr>().ok();
        Self {
            service: json.service_name.unwrap_or_default(),
            address: address(json.ipv4).or_else(|| address(json.ipv6)),
            port: json.port.unwrap_or_default(),
        }
    }
}

fn kind(word: &str) -> Kind {
    match word {
        "CLIENT" => Kind::Client,
        "SERVER" => Kind::Server,
        "PRODUCER" => Kind::Producer,
        "CONSUMER" => Kind::Consumer,
        _ => Kind::Local,
    }
}

/// An id of at most so many digits.
fn hex(text: &str, longest: usize) -> Option<u128> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_id = is_hex && (1..=longest).contains(&text.len());
    is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}
