//! OTLP's JSON as OTLP's bytes.
//!
//! In: a body of OTLP/JSON. Out: an `ExportTraceServiceRequest`, and how many spans were none. Ids are hex, numbers of 64 bits
//! text or numbers, enumerations numbers; fields that are unknown are left out, fields that are absent or `null` have
//! their default. Sources: OpenTelemetry specification, "OTLP/HTTP", "JSON Protobuf Encoding"; protobuf.dev, "ProtoJSON Format".
//!
//! **Invariants**: a span that cannot be read costs itself alone; what cannot be an id becomes one that the next stage rejects by
//! its name; what is read means the same as in Protocol Buffers.
//! **Absent**: names of enumerations and `snake_case` names of fields, which OTLP forbids.

mod span;
mod value;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans as OtlpResourceSpans, ScopeSpans as OtlpScopeSpans,
};
use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Converted, Refusal};
use span::Span;
use value::{Attributes, Whole, or_default};

/// `ExportTraceServiceRequest`
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request<'a> {
    #[serde(borrow, deserialize_with = "or_default")]
    resource_spans: Vec<ResourceSpans<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResourceSpans<'a> {
    resource: Option<Resource>,
    #[serde(borrow, deserialize_with = "or_default")]
    scope_spans: Vec<ScopeSpans<'a>>,
    #[serde(deserialize_with = "or_default")]
    schema_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    #[serde(deserialize_with = "or_default")]
    attributes: Attributes,
    #[serde(deserialize_with = "or_default")]
    dropped_attributes_count: Whole<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScopeSpans<'a> {
    scope: Option<Scope>,
    #[serde(borrow, deserialize_with = "or_default")]
    spans: Vec<&'a RawValue>,
    #[serde(deserialize_with = "or_default")]
    schema_url: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Scope {
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    version: String,
    #[serde(deserialize_with = "or_default")]
    attributes: Attributes,
    #[serde(deserialize_with = "or_default")]
    dropped_attributes_count: Whole<u32>,
}

/// Reads a request.
///
/// # Errors
/// When it is not such a request, above the level of spans.
pub(super) fn read(body: &[u8]) -> Result<Converted, Refusal> {
    let malformed = |error: serde_json::Error| Refusal::Malformed(error.to_string());
    let request: &RawValue = serde_json::from_slice(body).map_err(malformed)?;
    let request: Request<'_> = object(request).map_err(malformed)?;
    let mut malformed = 0;
    let resource_spans = request.resource_spans.into_iter().map(|part| OtlpResourceSpans {
        resource: part.resource.map(|resource| OtlpResource {
            attributes: resource.attributes.into(),
            dropped_attributes_count: resource.dropped_attributes_count.0,
            ..OtlpResource::default()
        }),
        scope_spans: part.scope_spans.into_iter().map(|part| scope(part, &mut malformed)).collect(),
        schema_url: part.schema_url,
    });
    let message = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
    Ok(Converted { message: message.encode_to_vec(), malformed })
}

/// A message, which is an object: serde would take a list of its fields too.
fn object<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> serde_json::Result<T> {
    if raw.get().starts_with('{') {
        return serde_json::from_str(raw.get());
    }
    Err(serde::de::Error::custom("expected an object"))
}

fn scope(part: ScopeSpans<'_>, malformed: &mut u32) -> OtlpScopeSpans {
    let mut spans = Vec::with_capacity(part.spans.len());
    for raw in part.spans {
        match object::<Span>(raw) {
            Ok(span) => spans.push(span.into()),
            Err(_) => *malformed += 1,
        }
    }
    OtlpScopeSpans {
        scope: part.scope.map(|scope| InstrumentationScope {
            name: scope.name,
            version: scope.version,
            attributes: scope.attributes.into(),
            dropped_attributes_count: scope.dropped_attributes_count.0,
        }),
        spans,
        schema_url: part.schema_url,
    }
}

#[cfg(test)]
mod tests;
