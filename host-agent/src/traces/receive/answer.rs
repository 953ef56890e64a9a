//! Answers, each in the form of its protocol.
//!
//! Sources: OTLP specification, "OTLP/gRPC Response", "OTLP/HTTP Response", "Failures"; gRPC over HTTP/2; google.rpc.Status and
//! RetryInfo. OTLP's senders try again after `RESOURCE_EXHAUSTED` only with a RetryInfo, and after 429 and 503.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{Accepted, Protocol};
use crate::traces::wire::{put_bytes, put_number};

/// Characters of `grpc-message` that are encoded: what is not printable, and the percent sign itself.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Why a request is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is served there.
    #[error("nothing is served at this path; OTLP is at /v1/traces, Zipkin at /api/v2/spans")]
    NotFound,
    /// Not a POST.
    #[error("spans are sent with POST")]
    Method,
    /// A content type that is not served.
    #[error(
        "the content type {0:?} is not served; send application/x-protobuf or application/json"
    )]
    Type(String),
    /// An encoding that is not served.
    #[error("the encoding {0:?} is not served; send gzip, zstd or identity")]
    Encoding(String),
    /// It cannot be read.
    #[error("the request cannot be read: {0}")]
    Malformed(String),
    /// It is too large, as it came or after decompression.
    #[error("the request is larger than {0} bytes; send smaller batches")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the request did not arrive in time")]
    Slow,
    /// Too much of this sender is under way.
    #[error("too many spans of this sender are under way; send them again later")]
    Busy,
    /// The sender has its share of the queue.
    #[error("the queue holds this sender's share already; send them again later")]
    Full,
    /// The queue cannot be written.
    #[error("the queue cannot be written; send them again later")]
    Disk,
}

impl Refusal {
    /// The word in metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Method => "method",
            Self::Type(_) => "content_type",
            Self::Encoding(_) => "encoding",
            Self::Malformed(_) => "malformed",
            Self::TooLarge(_) => "too_large",
            Self::Slow => "slow",
            Self::Busy => "busy",
            Self::Full => "queue_full",
            Self::Disk => "disk",
        }
    }

    /// When to try again; `None` when that is no use.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy => Some(Duration::from_secs(1)),
            Self::Full | Self::Disk => Some(Duration::from_secs(5)),
            _ => None,
        }
    }

    const fn http(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Type(_) | Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::Full => StatusCode::TOO_MANY_REQUESTS,
            Self::Disk => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// google.rpc.Code
    const fn grpc(&self) -> u8 {
        match self {
            Self::Malformed(_) => 3,
            Self::Slow => 4,
            Self::TooLarge(_) | Self::Busy | Self::Full => 8,
            Self::NotFound | Self::Method | Self::Type(_) | Self::Encoding(_) => 12,
            Self::Disk => 14,
        }
    }

    /// google.rpc.Status, with a RetryInfo where trying again is right.
    fn status(&self) -> Vec<u8> {
        let mut status = Vec::new();
        put_number(&mut status, 1, u64::from(self.grpc()));
        put_bytes(&mut status, 2, self.to_string().as_bytes());
        if let Some(after) = self.retry_after() {
            let (mut duration, mut info, mut any) = (Vec::new(), Vec::new(), Vec::new());
            put_number(&mut duration, 1, after.as_secs());
            put_bytes(&mut info, 1, &duration);
            put_bytes(&mut any, 1, b"type.googleapis.com/google.rpc.RetryInfo");
            put_bytes(&mut any, 2, &info);
            put_bytes(&mut status, 3, &any);
        }
        status
    }
}

/// The answer to a request that came by `protocol`.
pub(super) fn answer(protocol: Protocol, outcome: Result<Accepted, Refusal>) -> Response<Body> {
    match (protocol, outcome) {
        (Protocol::OtlpGrpc, Ok(accepted)) => grpc_accepted(&accepted),
        (Protocol::OtlpGrpc, Err(refusal)) => grpc_refused(&refusal),
        (Protocol::OtlpHttp, Ok(accepted)) => {
            respond(StatusCode::OK, "application/x-protobuf", export_response(&accepted))
        }
        (Protocol::OtlpJson, Ok(accepted)) => {
            let body = match accepted.rejected {
                0 => serde_json::json!({}),
                rejected => serde_json::json!({ "partialSuccess": {
                    "rejectedSpans": rejected.to_string(), "errorMessage": accepted.message,
                }}),
            };
            respond(StatusCode::OK, "application/json", body.to_string().into_bytes())
        }
        // Zipkin has no word for a part that was refused; it is counted and logged here.
        (Protocol::ZipkinJson | Protocol::ZipkinProto, Ok(_)) => {
            respond(StatusCode::ACCEPTED, "text/plain; charset=utf-8", Vec::new())
        }
        (_, Err(refusal)) => http_refused(protocol, &refusal),
    }
}

fn http_refused(protocol: Protocol, refusal: &Refusal) -> Response<Body> {
    let (kind, body) = match protocol {
        Protocol::OtlpHttp => ("application/x-protobuf", refusal.status()),
        Protocol::OtlpJson => {
            let body =
                serde_json::json!({ "code": refusal.grpc(), "message": refusal.to_string() });
            ("application/json", body.to_string().into_bytes())
        }
        _ => ("text/plain; charset=utf-8", format!("{refusal}\n").into_bytes()),
    };
    let mut response = respond(refusal.http(), kind, body);
    if let Some(after) = refusal.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    if *refusal == Refusal::Method {
        response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn respond(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// `ExportTraceServiceResponse`
fn export_response(accepted: &Accepted) -> Vec<u8> {
    let mut response = Vec::new();
    if accepted.rejected > 0 {
        let mut partial = Vec::new();
        put_number(&mut partial, 1, u64::from(accepted.rejected));
        put_bytes(&mut partial, 2, accepted.message.as_bytes());
        put_bytes(&mut response, 1, &partial);
    }
    response
}

fn grpc_accepted(accepted: &Accepted) -> Response<Body> {
    let message = export_response(accepted);
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(frame)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Only headers, which is how gRPC refuses without a message.
fn grpc_refused(refusal: &Refusal) -> Response<Body> {
    let mut response = respond(StatusCode::OK, "application/grpc", Vec::new());
    let headers = response.headers_mut();
    headers.insert(STATUS, HeaderValue::from(u16::from(refusal.grpc())));
    let text = utf8_percent_encode(&refusal.to_string(), MESSAGE).to_string();
    if let Ok(text) = HeaderValue::try_from(text) {
        headers.insert(HeaderName::from_static("grpc-message"), text);
    }
    if let Ok(details) = HeaderValue::try_from(STANDARD_NO_PAD.encode(refusal.status())) {
        headers.insert(HeaderName::from_static("grpc-status-details-bin"), details);
    }
    if matches!(refusal, Refusal::Encoding(_)) {
        let served = HeaderValue::from_static("identity,gzip,zstd");
        headers.insert(HeaderName::from_static("grpc-accept-encoding"), served);
    }
    response
}
