//! Zipkin's spans (v2) as OTLP's bytes.
//!
//! In: a JSON array, or `ListOfSpans` in Protocol Buffers. Out: an `ExportTraceServiceRequest`, a resource for each service's
//! name. Ids of 64 bits are padded with zeros on the left; what cannot be an id becomes an empty one, which the next stage
//! rejects by name. Tags become attributes, annotations events, microseconds nanoseconds.
//! Sources: zipkin-api (`zipkin2-api.yaml`, `zipkin.proto`); OpenTelemetry specification, "Zipkin" (mapping, read backwards).
//!
//! **Absent**: v1, Thrift; rewriting of ids that client and server share (`shared` is kept as an attribute).

mod convert;
mod json;
mod proto;

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Converted, Refusal};
use convert::request;

/// A span as both forms have it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Span {
    trace: Option<u128>,
    id: Option<u64>,
    parent: Option<u64>,
    /// There is a parent that cannot be read.
    is_parent_bad: bool,
    kind: Kind,
    name: String,
    start_us: u64,
    duration_us: u64,
    local: Endpoint,
    remote: Endpoint,
    annotations: Vec<(u64, String)>,
    tags: BTreeMap<String, String>,
    is_debug: bool,
    is_shared: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Local,
    Client,
    Server,
    Producer,
    Consumer,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Endpoint {
    service: String,
    address: Option<IpAddr>,
    port: u16,
}

/// Reads a JSON array of spans.
///
/// # Errors
/// When it is no array.
pub fn from_json(body: &[u8]) -> Result<Converted, Refusal> {
    let (spans, malformed) = json::read(body)?;
    Ok(Converted { message: request(spans), malformed })
}

/// Reads a `ListOfSpans`.
///
/// # Errors
/// When it is none.
pub fn from_proto(body: &[u8]) -> Result<Converted, Refusal> {
    let (spans, malformed) =
        proto::read(body).map_err(|error| Refusal::Malformed(error.to_string()))?;
    Ok(Converted { message: request(spans), malformed })
}

#[cfg(test)]
mod tests;
