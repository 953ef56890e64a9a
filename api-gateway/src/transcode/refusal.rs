//! Errors as callers see them: `google.rpc.Status` as JSON, with the HTTP status that belongs to its code.
//!
//! In: what this module's siblings refuse, and what services answer. Out: a response.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use prost::Message;
use prost_reflect::DescriptorPool;
use serde::Serialize;
use serde_json::{Value, json};
use tonic::{Code, Status};

use super::answer::AnswerBody;
use super::encode;
use super::options::JsonOptions;

/// A call that gets an error for its answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", status.message)]
pub struct Refusal {
    http: StatusCode,
    status: RpcStatus,
    /// Boxed, because results that carry it are moved on every successful call.
    headers: Box<HeaderMap>,
}

/// `google.rpc.Status` as JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct RpcStatus {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Value>,
}

/// `google.rpc.Status` as it stands in `grpc-status-details-bin`; code and message stand in headers of their own.
#[derive(Clone, PartialEq, Message)]
struct StatusDetails {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

impl Refusal {
    /// One of ours: its code's HTTP status, and one sentence that says what to do.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        let status = RpcStatus { code: code.into(), message: message.into(), details: Vec::new() };
        Self { http: http_status(code), status, headers: Box::default() }
    }

    pub(super) fn is_unavailable(&self) -> bool {
        self.status.code == i32::from(Code::Unavailable)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Nothing can be converted now; `why` says what to do.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, why)
    }

    /// A field of the request is wrong; it is named in a `google.rpc.BadRequest` too.
    pub(super) fn field(path: &str, why: &str) -> Self {
        let mut refusal = Self::invalid(format!("field `{path}`: {why}"));
        refusal.status.details.push(json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": path, "description": why}],
        }));
        refusal
    }

    /// With an HTTP status that says more than the code's.
    pub(super) fn with_http(mut self, http: StatusCode) -> Self {
        self.http = http;
        self
    }

    pub(super) fn with_allow(mut self, methods: &[String]) -> Self {
        // Methods are tokens, so they always make a header.
        if let Ok(value) = HeaderValue::from_str(&methods.join(", ")) {
            self.headers.insert(ALLOW, value);
        }
        self
    }

    /// Headers that go with the answer, as a service's metadata.
    pub(super) fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers.extend(headers);
        self
    }

    /// What a service answered.
    pub(super) fn from_service(status: &Status, pool: &DescriptorPool, json: &JsonOptions) -> Self {
        let mut refusal = Self::new(status.code(), status.message());
        if let Ok(known) = StatusDetails::decode(status.details()) {
            let details = known.details.iter().map(|detail| encode::detail(pool, detail, json));
            refusal.status.details = details.collect();
        }
        refusal
    }

    /// The last line or event of a stream that breaks off.
    pub(super) fn into_status(self) -> RpcStatus {
        self.status
    }

    /// As the answer to a client.
    pub fn into_response(self) -> Response<AnswerBody> {
        let body = encode::to_bytes(&self.status).unwrap_or_else(|_| Bytes::from_static(b"{}"));
        let mut response = Response::new(AnswerBody::whole(body));
        *response.status_mut() = self.http;
        *response.headers_mut() = *self.headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// The HTTP status of a gRPC code.
pub(super) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // No registered status says that the caller went away; this one is what proxies log.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
