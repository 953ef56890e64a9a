//! Which protocol a request speaks, by its method, path and content type.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

use super::Refusal;

/// The gRPC method.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// OTLP by gRPC.
    OtlpGrpc,
    /// OTLP by HTTP, in Protocol Buffers.
    OtlpHttp,
    /// OTLP by HTTP, in JSON.
    OtlpJson,
    /// Zipkin v2, in JSON.
    ZipkinJson,
    /// Zipkin v2, in Protocol Buffers.
    ZipkinProto,
}

impl Protocol {
    /// The word in metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttp => "otlp_http",
            Self::OtlpJson => "otlp_json",
            Self::ZipkinJson => "zipkin_json",
            Self::ZipkinProto => "zipkin_proto",
        }
    }

    /// Of a request. What refuses it is answered in the protocol that it looks most like.
    ///
    /// # Errors
    /// When nothing is served there, or not in that form.
    pub fn of(method: &Method, path: &str, headers: &HeaderMap) -> Result<Self, (Self, Refusal)> {
        let written =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let kind = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_grpc = kind == "application/grpc" || kind.starts_with("application/grpc+");
        let protocol = match (path, kind.as_str()) {
            (EXPORT, _) if is_grpc => Self::OtlpGrpc,
            (_, _) if is_grpc => return Err((Self::OtlpGrpc, Refusal::NotFound)),
            ("/v1/traces", "application/x-protobuf" | "application/protobuf") => Self::OtlpHttp,
            ("/v1/traces", "application/json") => Self::OtlpJson,
            ("/api/v2/spans", "application/x-protobuf" | "application/protobuf") => {
                Self::ZipkinProto
            }
            // Zipkin's own server takes what names no type for JSON.
            ("/api/v2/spans", "application/json" | "") => Self::ZipkinJson,
            ("/v1/traces", _) => return Err((Self::OtlpJson, Refusal::Type(written.to_owned()))),
            ("/api/v2/spans", _) => {
                return Err((Self::ZipkinJson, Refusal::Type(written.to_owned())));
            }
            _ => return Err((Self::ZipkinJson, Refusal::NotFound)),
        };
        if method == Method::POST { Ok(protocol) } else { Err((protocol, Refusal::Method)) }
    }
}
