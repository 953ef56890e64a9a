//! The collector's answers, in the form in which it was asked.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

use super::Span;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// google.rpc.Status, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

pub(super) fn json(spans: &[Span]) -> Response<Body> {
    let body = serde_json::to_vec(spans).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed_unsync());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

pub(super) fn taken(is_grpc: bool, rejected: u64) -> Response<Body> {
    let partial = ExportTracePartialSuccess {
        rejected_spans: i64::try_from(rejected).unwrap_or(i64::MAX),
        error_message: "the collector was told to reject".to_owned(),
    };
    let message =
        ExportTraceServiceResponse { partial_success: Some(partial).filter(|_| rejected > 0) };
    let message = message.encode_to_vec();
    if !is_grpc {
        let mut response = Response::new(Full::new(Bytes::from(message)).boxed_unsync());
        let kind = HeaderValue::from_static("application/x-protobuf");
        response.headers_mut().insert("content-type", kind);
        return response;
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or_default().to_be_bytes());
    frame.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(frame)).with_trailers(async move { Some(Ok(trailers)) });
    grpc(body.boxed_unsync())
}

pub(super) fn refused(is_grpc: bool, code: u8, retry: Option<u64>) -> Response<Body> {
    let mut response = grpc(Full::default().boxed_unsync());
    if !is_grpc {
        *response.status_mut() = match code {
            3 => http::StatusCode::BAD_REQUEST,
            _ => http::StatusCode::SERVICE_UNAVAILABLE,
        };
        return response;
    }
    response.headers_mut().insert("grpc-status", HeaderValue::from(u16::from(code)));
    if let Some(seconds) = retry {
        let delay = Some(Delay { seconds: i64::try_from(seconds).unwrap_or(i64::MAX) });
        let info = Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: RetryInfo { delay }.encode_to_vec(),
        };
        let status = Status { code: code.into(), details: vec![info] }.encode_to_vec();
        if let Ok(value) = HeaderValue::try_from(base64(&status)) {
            response.headers_mut().insert("grpc-status-details-bin", value);
        }
    }
    response
}

fn grpc(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

/// Base64 without padding, as gRPC writes binary headers.
fn base64(bytes: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)
}
