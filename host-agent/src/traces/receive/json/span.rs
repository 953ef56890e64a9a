//! One span of OTLP/JSON, with its events, links and status.

use opentelemetry_proto::tonic::trace::v1::span::{Event as OtlpEvent, Link as OtlpLink};
use opentelemetry_proto::tonic::trace::v1::{Span as OtlpSpan, Status as OtlpStatus};
use serde::Deserialize;

use super::value::{Attributes, Hex, Whole, or_default};

/// `Span`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Span {
    #[serde(deserialize_with = "or_default")]
    trace_id: Hex,
    #[serde(deserialize_with = "or_default")]
    span_id: Hex,
    #[serde(deserialize_with = "or_default")]
    trace_state: String,
    #[serde(deserialize_with = "or_default")]
    parent_span_id: Hex,
    #[serde(deserialize_with = "or_default")]
    flags: Whole<u32>,
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    kind: Whole<i32>,
    #[serde(deserialize_with = "or_default")]
    start_time_unix_nano: Whole<u64>,
    #[serde(deserialize_with = "or_default")]
    end_time_unix_nano: Whole<u64>,
    #[serde(deserialize_with = "or_default")]
    attributes: Attributes,
    #[serde(deserialize_with = "or_default")]
    dropped_attributes_count: Whole<u32>,
    #[serde(deserialize_with = "or_default")]
    events: Vec<Event>,
    #[serde(deserialize_with = "or_default")]
    dropped_events_count: Whole<u32>,
    #[serde(deserialize_with = "or_default")]
    links: Vec<Link>,
    #[serde(deserialize_with = "or_default")]
    dropped_links_count: Whole<u32>,
    status: Option<Status>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Event {
    #[serde(deserialize_with = "or_default")]
    time_unix_nano: Whole<u64>,
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    attributes: Attributes,
    #[serde(deserialize_with = "or_default")]
    dropped_attributes_count: Whole<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Link {
    #[serde(deserialize_with = "or_default")]
    trace_id: Hex,
    #[serde(deserialize_with = "or_default")]
    span_id: Hex,
    #[serde(deserialize_with = "or_default")]
    trace_state: String,
    #[serde(deserialize_with = "or_default")]
    attributes: Attributes,
    #[serde(deserialize_with = "or_default")]
    dropped_attributes_count: Whole<u32>,
    #[serde(deserialize_with = "or_default")]
    flags: Whole<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    #[serde(deserialize_with = "or_default")]
    message: String,
    #[serde(deserialize_with = "or_default")]
    code: Whole<i32>,
}

impl From<Span> for OtlpSpan {
    fn from(span: Span) -> Self {
        Self {
            trace_id: span.trace_id.0,
            span_id: span.span_id.0,
            trace_state: span.trace_state,
            parent_span_id: span.parent_span_id.0,
            flags: span.flags.0,
            name: span.name,
            kind: span.kind.0,
            start_time_unix_nano: span.start_time_unix_nano.0,
            end_time_unix_nano: span.end_time_unix_nano.0,
            attributes: span.attributes.into(),
            dropped_attributes_count: span.dropped_attributes_count.0,
            events: span.events.into_iter().map(Into::into).collect(),
            dropped_events_count: span.dropped_events_count.0,
            links: span.links.into_iter().map(Into::into).collect(),
            dropped_links_count: span.dropped_links_count.0,
            status: span
                .status
                .map(|status| OtlpStatus { message: status.message, code: status.code.0 }),
        }
    }
}

impl From<Event> for OtlpEvent {
    fn from(event: Event) -> Self {
        Self {
            time_unix_nano: event.time_unix_nano.0,
            name: event.name,
            attributes: event.attributes.into(),
            dropped_attributes_count: event.dropped_attributes_count.0,
        }
    }
}

impl From<Link> for OtlpLink {
    fn from(link: Link) -> Self {
        Self {
            trace_id: link.trace_id.0,
            span_id: link.span_id.0,
            trace_state: link.trace_state,
            attributes: link.attributes.into(),
            dropped_attributes_count: link.dropped_attributes_count.0,
            flags: link.flags.0,
        }
    }
}
