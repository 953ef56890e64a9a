//! One converted call, from its request to its answer.
//!
//! In: the schemas that the request may be of, the newest first, the service, the request. Out: the response. Every
//! error is a response too. Dropping the future or the response's body cancels the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, request};
use http_body::Body;
use prost::Message;
use prost_reflect::DynamicMessage;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Code;

use super::answer::{AnswerBody, AnswerStream, Framing, Shape, is_over, too_late};
use super::api::Api;
use super::bind::{self, Parts};
use super::binding::Binding;
use super::body;
use super::error::list;
use super::metadata;
use super::options::Options;
use super::refusal::Refusal;
use super::routes::{Found, NotFound};
use super::upstream::{Answering, Beginning, Upstream};

/// Answers a request by calling the service.
///
/// Of several schemas the newest one wins that knows the path and can read the request; if none can, the newest one
/// that knows the path says what is wrong.
pub async fn call<B>(
    apis: &[Arc<Api>],
    upstream: &Upstream,
    options: &Arc<Options>,
    request: Request<B>,
) -> Response<AnswerBody>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let (head, body) = request.into_parts();
    let answered = answer(apis, upstream, options, &head, body).await;
    answered.unwrap_or_else(Refusal::into_response)
}

/// A request that is understood.
struct Call<'a> {
    binding: &'a Binding,
    message: DynamicMessage,
    deadline: Option<Instant>,
    shape: Shape,
    options: &'a Arc<Options>,
}

async fn answer<B>(
    apis: &[Arc<Api>],
    upstream: &Upstream,
    options: &Arc<Options>,
    head: &request::Parts,
    body: B,
) -> Result<Response<AnswerBody>, Refusal>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let candidates = candidates(apis, head)?;
    let mut to_service = metadata::to_service(&head.headers)?;
    let timeout = metadata::timeout(&head.headers)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    refuse_encoded(&head.headers)?;
    let body = before(deadline, body::read(body, options.limits.body_bytes)).await??;
    let (api, binding, message) = understand(&candidates, head, &body, options)?;
    let shape = Shape::new(binding, api.pool(), options);
    if let Some(deadline) = deadline {
        let left = deadline.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(too_late());
        }
        to_service.extend([metadata::timeout_header(left)]);
    }
    let call = Call { binding, message, deadline, shape, options };
    let answered = call.send(upstream, to_service, &head.headers).await;
    answered.map_err(|refusal| {
        // Envoy says of a call that it ended for its deadline that the service is unavailable.
        if refusal.is_unavailable() && is_over(deadline) { too_late() } else { refusal }
    })
}

/// The bindings of each schema that knows the path, the newest first.
fn candidates<'a>(
    apis: &'a [Arc<Api>],
    head: &'a request::Parts,
) -> Result<Vec<(&'a Api, Found<'a>)>, Refusal> {
    let path = head.uri.path();
    let mut found = Vec::new();
    let mut refusal = None;
    for api in apis {
        match api.find(&head.method, path) {
            Ok(binding) => found.push((&**api, binding)),
            Err(missing) if refusal.is_none() => refusal = Some(not_found(head, &missing)),
            Err(_) => {}
        }
    }
    let Some((_, newest)) = found.first() else {
        return Err(refusal.unwrap_or_else(|| {
            Refusal::new(Code::Unavailable, "the service's schema is not known yet; try again")
        }));
    };
    if newest.binding.rpc.is_client_streaming() {
        let name = newest.binding.rpc.full_name();
        return Err(Refusal::new(
            Code::Unimplemented,
            format!("{name} reads a stream of messages, which has no JSON form; call it with gRPC"),
        ));
    }
    Ok(found)
}

fn not_found(head: &request::Parts, missing: &NotFound) -> Refusal {
    let (method, path) = (&head.method, head.uri.path());
    if !missing.allow.is_empty() {
        let message =
            format!("{method} is not allowed on {path}; use {}", missing.allow.join(" or "));
        return Refusal::new(Code::Unimplemented, message)
            .with_http(StatusCode::METHOD_NOT_ALLOWED)
            .with_allow(&missing.allow);
    }
    let advice = match missing.near.as_slice() {
        [] => "see the API's description for what there is".to_owned(),
        near => format!("like it are {}", list(near)),
    };
    Refusal::new(Code::NotFound, format!("there is no {method} {path}; {advice}"))
}

fn refuse_encoded(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            let message = format!("the body is encoded as {encoding:?}; send it without encoding");
            Err(Refusal::invalid(message).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
        _ => Ok(()),
    }
}

/// The first schema that can read the request.
fn understand<'a>(
    candidates: &'a [(&'a Api, Found<'a>)],
    head: &request::Parts,
    body: &Bytes,
    options: &Options,
) -> Result<(&'a Api, &'a Binding, DynamicMessage), Refusal> {
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let parts = Parts { query: head.uri.query(), content_type, body };
    let mut refusal = None;
    for (api, found) in candidates {
        match bind::message(found, parts, &options.limits) {
            Ok(message) if message.encoded_len() <= options.limits.message_bytes => {
                return Ok((api, found.binding, message));
            }
            Ok(_) => refusal = refusal.or_else(|| Some(too_large(&options.limits))),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.unwrap_or_else(|| Refusal::new(Code::Internal, "no schema read the request")))
}

fn too_large(limits: &super::options::Limits) -> Refusal {
    let limit = limits.message_bytes;
    let message = format!("the message is larger than {limit} bytes; send less at a time");
    Refusal::new(Code::ResourceExhausted, message).with_http(StatusCode::PAYLOAD_TOO_LARGE)
}

/// What comes of something, unless it is too late.
async fn before<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Result<T, Refusal> {
    match deadline {
        None => Ok(work.await),
        Some(deadline) => timeout_at(deadline, work).await.map_err(|_| too_late()),
    }
}

impl Call<'_> {
    async fn send(
        mut self,
        upstream: &Upstream,
        to_service: HeaderMap,
        asked: &HeaderMap,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let rpc = &self.binding.rpc;
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        let path = PathAndQuery::try_from(path)
            .map_err(|error| Refusal::new(Code::Internal, format!("the call's path: {error}")))?;
        let message = std::mem::replace(&mut self.message, DynamicMessage::new(rpc.input()));
        let max_message = self.options.limits.message_bytes;
        let beginning = upstream.call(path, to_service, message, rpc.output(), max_message);
        match before(self.deadline, beginning).await?? {
            Beginning::Ended { headers, status } => {
                let to_client = metadata::to_client(&headers);
                if status.code() == Code::Ok && rpc.is_server_streaming() {
                    return Ok(self.empty_stream(asked, to_client));
                }
                Err(self.ended(&status).with_headers(to_client))
            }
            Beginning::Answering(answering) if rpc.is_server_streaming() => {
                self.stream(answering, asked).await
            }
            Beginning::Answering(answering) => before(self.deadline, self.unary(answering)).await?,
        }
    }

    fn ended(&self, status: &tonic::Status) -> Refusal {
        if status.code() == Code::Ok { no_message() } else { self.shape.refuse(status, true) }
    }

    async fn unary(&self, mut answering: Box<Answering>) -> Result<Response<AnswerBody>, Refusal> {
        let headers = metadata::to_client(&answering.headers);
        let ended = |status: &tonic::Status| {
            let by_service = answering.ended_by_service.load(Ordering::Relaxed);
            let trailers = metadata::trailers_to_client(status.metadata().as_ref());
            self.shape
                .refuse(status, by_service)
                .with_headers(headers.clone())
                .with_headers(trailers)
        };
        let message = answering.messages.message().await.map_err(|status| ended(&status))?;
        let trailers = answering.messages.trailers().await.map_err(|status| ended(&status))?;
        let message = message.ok_or_else(no_message)?;
        let (content_type, body) = if self.shape.is_raw {
            self.shape.raw(&message)
        } else {
            (HeaderValue::from_static("application/json"), self.shape.json(&message)?)
        };
        let mut response = Response::new(AnswerBody::whole(body));
        *response.headers_mut() = headers;
        if let Some(trailers) = trailers {
            response.headers_mut().extend(metadata::trailers_to_client(trailers.as_ref()));
        }
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        Ok(response)
    }

    async fn stream(
        self,
        mut answering: Box<Answering>,
        asked: &HeaderMap,
    ) -> Result<Response<AnswerBody>, Refusal> {
        let mut framing = Framing::asked_by(asked);
        let mut headers = framing.headers();
        let mut first = None;
        if self.shape.is_raw {
            framing = Framing::Raw;
            headers = framing.headers();
            // The content type stands in the first message.
            let message = before(self.deadline, answering.messages.message()).await?;
            let message = message.map_err(|status| {
                let by_service = answering.ended_by_service.load(Ordering::Relaxed);
                self.shape.refuse(&status, by_service)
            })?;
            if let Some(message) = message {
                let (content_type, data) = self.shape.raw(&message);
                headers.insert(CONTENT_TYPE, content_type);
                first = Some(data);
            }
        }
        let mut to_client = metadata::to_client(&answering.headers);
        to_client.extend(headers);
        let stream = AnswerStream {
            messages: Some(answering.messages),
            first,
            ended_by_service: answering.ended_by_service,
            deadline: self.deadline.map(|deadline| Box::pin(sleep_until(deadline))),
            framing,
            shape: self.shape,
        };
        let mut response = Response::new(AnswerBody::stream(stream));
        *response.headers_mut() = to_client;
        Ok(response)
    }

    fn empty_stream(self, asked: &HeaderMap, to_client: HeaderMap) -> Response<AnswerBody> {
        let framing = if self.shape.is_raw { Framing::Raw } else { Framing::asked_by(asked) };
        let stream = AnswerStream {
            messages: None,
            first: None,
            ended_by_service: Arc::new(AtomicBool::new(true)),
            deadline: None,
            framing,
            shape: self.shape,
        };
        let mut response = Response::new(AnswerBody::stream(stream));
        *response.headers_mut() = to_client;
        response.headers_mut().extend(framing.headers());
        response
    }
}

fn no_message() -> Refusal {
    let message = "the service ended the call without a message; correct the service";
    Refusal::new(Code::Internal, message).with_http(StatusCode::BAD_GATEWAY)
}
