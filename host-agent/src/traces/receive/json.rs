//! OTLP's JSON as OTLP's bytes: ids in hex, 64-bit numbers as text, fields that are unknown left out, as the specification says.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::Refusal;

/// Reads a request.
///
/// # Errors
/// When it is not such a request.
pub(super) fn read(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    serde_json::from_slice::<ExportTraceServiceRequest>(body)
        .map(|request| request.encode_to_vec())
        .map_err(|error| Refusal::Malformed(error.to_string()))
}
