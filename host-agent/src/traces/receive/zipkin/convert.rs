//! Zipkin's words in OTLP's.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as OtlpSpan, Status};
use prost::Message;

use super::{Endpoint, Kind, Span};

/// Spans as a request, by the name of their service.
pub(super) fn request(spans: Vec<Span>) -> Vec<u8> {
    let mut by_service: BTreeMap<String, Vec<OtlpSpan>> = BTreeMap::new();
    for mut span in spans {
        let service = std::mem::take(&mut span.local.service);
        by_service.entry(service).or_default().push(convert(span));
    }
    let resource_spans = by_service.into_iter().map(|(service, spans)| {
        let named = Some(service).filter(|service| !service.is_empty());
        let attributes = named.map(|service| text("service.name", service)).into_iter().collect();
        ResourceSpans {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn convert(span: Span) -> OtlpSpan {
    let ns = |us: u64| us.saturating_mul(1000);
    let start_us = match span.start_us {
        0 => span.annotations.iter().map(|(time, _)| *time).min().unwrap_or_default(),
        time => time,
    };
    let status = status(&span.tags);
    let mut attributes: Vec<KeyValue> = Vec::with_capacity(span.tags.len() + 4);
    attributes.extend(
        span.tags
            .into_iter()
            .filter(|(key, _)| !is_status(key))
            .map(|(key, value)| text(&key, value)),
    );
    endpoint(&mut attributes, span.local, ["", "network.local.address", "network.local.port"]);
    endpoint(
        &mut attributes,
        span.remote,
        ["peer.service", "network.peer.address", "network.peer.port"],
    );
    for (key, is_set) in [("zipkin.debug", span.is_debug), ("zipkin.shared", span.is_shared)] {
        attributes.extend(is_set.then(|| attribute(key, Value::BoolValue(true))));
    }
    OtlpSpan {
        trace_id: span.trace.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec()),
        span_id: span.id.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec()),
        parent_span_id: match (span.parent, span.is_parent_bad) {
            (Some(id), _) => id.to_be_bytes().to_vec(),
            // One byte is no id: the span is rejected for it.
            (None, true) => vec![0],
            (None, false) => Vec::new(),
        },
        name: span.name,
        kind: kind(span.kind).into(),
        start_time_unix_nano: ns(start_us),
        end_time_unix_nano: ns(start_us.saturating_add(span.duration_us)),
        attributes,
        events: span
            .annotations
            .into_iter()
            .map(|(time, name)| Event { time_unix_nano: ns(time), name, ..Event::default() })
            .collect(),
        status,
        ..OtlpSpan::default()
    }
}

fn is_status(key: &str) -> bool {
    matches!(key, "otel.status_code" | "otel.status_description")
}

fn status(tags: &BTreeMap<String, String>) -> Option<Status> {
    let described = || tags.get("otel.status_description").cloned().unwrap_or_default();
    let code = tags.get("otel.status_code").map(String::as_str);
    let error = tags.get("error").filter(|value| *value != "false");
    match (code, error) {
        (Some("OK"), _) => Some(Status { code: StatusCode::Ok.into(), message: String::new() }),
        (Some("ERROR"), _) => Some(Status { code: StatusCode::Error.into(), message: described() }),
        (_, Some(error)) => {
            let message = if error == "true" { String::new() } else { error.clone() };
            Some(Status { code: StatusCode::Error.into(), message })
        }
        _ => None,
    }
}

const fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Local => SpanKind::Internal,
        Kind::Client => SpanKind::Client,
        Kind::Server => SpanKind::Server,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    }
}

fn endpoint(to: &mut Vec<KeyValue>, endpoint: Endpoint, [service, address, port]: [&str; 3]) {
    if !endpoint.service.is_empty() && !service.is_empty() {
        to.push(text(service, endpoint.service));
    }
    to.extend(endpoint.address.map(|own| text(address, own.to_string())));
    if endpoint.port != 0 {
        to.push(attribute(port, Value::IntValue(endpoint.port.into())));
    }
}

fn text(key: &str, value: String) -> KeyValue {
    attribute(key, Value::StringValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
