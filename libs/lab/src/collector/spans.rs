//! Spans as the collector remembers them.

use std::collections::BTreeMap;
use std::io::Read;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use serde::{Deserialize, Serialize};

/// A span with what its resource says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its trace, in hex.
    pub trace: String,
    /// Its id.
    pub span: u64,
    /// Its parent's; 0 for none.
    pub parent: u64,
    /// Its name.
    pub name: String,
    /// OTLP's `SpanKind`.
    pub kind: i32,
    /// When it began, nanoseconds since the epoch.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// Whether its status is an error.
    pub is_error: bool,
    /// What its resource says.
    pub resource: BTreeMap<String, String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// The spans of a request.
pub(super) fn read(body: &[u8], is_grpc: bool, is_gzip: bool) -> Result<Vec<Span>, String> {
    let mut message = if is_grpc { body.get(5..).unwrap_or_default() } else { body };
    let mut plain = Vec::new();
    if is_gzip {
        let mut decoder = flate2::read::GzDecoder::new(message);
        decoder.read_to_end(&mut plain).map_err(|error| error.to_string())?;
        message = &plain;
    }
    let request = ExportTraceServiceRequest::decode(message).map_err(|error| error.to_string())?;
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let said = texts(resource.resource.unwrap_or_default().attributes);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let id = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).unwrap_or_default();
            spans.push(Span {
                trace: span.trace_id.iter().map(|byte| format!("{byte:02x}")).collect(),
                span: id(&span.span_id),
                parent: id(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                start_ns: span.start_time_unix_nano,
                end_ns: span.end_time_unix_nano,
                is_error: span.status.is_some_and(|status| status.code == 2),
                resource: said.clone(),
                attributes: texts(span.attributes),
            });
        }
    }
    Ok(spans)
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    };
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, text(attribute.value.and_then(|any| any.value))))
        .collect()
}
