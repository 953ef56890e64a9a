//! What a client gets: one JSON document, raw bytes, or a stream of documents.
//!
//! In: messages of a service. Out: an HTTP body. A stream takes the next message when the client's connection takes
//! more, so one message at a time is in memory, and each is sent as it comes.
//!
//! **Invariants**: a stream that fails ends with its error, as the last line or event; where there is no place for one
//! (raw bytes) the connection is broken off. A stream that is dropped cancels its call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, Value};
use serde::Serialize;
use tokio::time::{Instant, Sleep};
use tonic::codec::Streaming;
use tonic::{Code, Status};

use super::bind::is_http_body;
use super::binding::Binding;
use super::encode::{self, Json};
use super::options::Options;
use super::refusal::{Refusal, RpcStatus};

/// The body of a converted call's response.
#[derive(Debug)]
pub struct AnswerBody(Kept);

#[derive(Debug)]
enum Kept {
    Whole(Bytes),
    Stream(Box<AnswerStream>),
}

/// A stream of raw bytes ended before its end: the connection must not look as if it had ended well.
#[derive(Debug, thiserror::Error)]
#[error("the service's stream of bytes failed: {0}")]
pub struct BrokenAnswer(String);

/// How answers of a binding are written.
#[derive(Clone)]
pub(super) struct Shape {
    options: Arc<Options>,
    pool: DescriptorPool,
    field: Option<FieldDescriptor>,
    pub(super) is_raw: bool,
}

/// How the messages of a stream are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// A line each.
    Lines,
    /// A server-sent event each.
    Events,
    /// Not at all: bytes of `google.api.HttpBody`.
    Raw,
}

/// The messages that are still to come.
#[derive(Debug)]
pub(super) struct AnswerStream {
    /// `None`: ended.
    pub(super) messages: Option<Streaming<DynamicMessage>>,
    /// What was read before the response began.
    pub(super) first: Option<Bytes>,
    pub(super) ended_by_service: Arc<AtomicBool>,
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    pub(super) framing: Framing,
    pub(super) shape: Shape,
}

/// What stands on the last line of a stream that fails.
#[derive(Serialize)]
struct LastLine<'a> {
    error: &'a RpcStatus,
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shape").field("is_raw", &self.is_raw).finish_non_exhaustive()
    }
}

impl Shape {
    pub(super) fn new(binding: &Binding, pool: &DescriptorPool, options: &Arc<Options>) -> Self {
        let sent = binding.response_body.as_ref();
        let is_raw = match sent {
            Some(field) => match field.kind() {
                Kind::Message(message) => is_http_body(&message) && !field.is_list(),
                _ => false,
            },
            None => is_http_body(&binding.rpc.output()),
        };
        Self { options: options.clone(), pool: pool.clone(), field: sent.cloned(), is_raw }
    }

    pub(super) fn json(&self, message: &DynamicMessage) -> Result<Bytes, Refusal> {
        let json = Json::new(message, self.field.as_ref(), &self.options.json);
        encode::to_bytes(&json).map_err(|error| not_json(&error))
    }

    /// Content type and bytes of a `google.api.HttpBody`.
    pub(super) fn raw(&self, message: &DynamicMessage) -> (HeaderValue, Bytes) {
        let sent = self.field.as_ref().map(|field| message.get_field(field));
        let body = sent.as_deref().map_or(Some(message), Value::as_message);
        let part = |number| body.and_then(|body| body.get_field_by_number(number));
        let content_type = part(1);
        let content_type = content_type.as_deref().and_then(Value::as_str).unwrap_or_default();
        let content_type = HeaderValue::from_str(content_type).ok().filter(|text| !text.is_empty());
        let unknown = HeaderValue::from_static("application/octet-stream");
        let data = part(2).as_deref().and_then(Value::as_bytes).cloned();
        (content_type.unwrap_or(unknown), data.unwrap_or_default())
    }

    /// What a call that failed gets for its answer.
    pub(super) fn refuse(&self, status: &Status, by_service: bool) -> Refusal {
        if by_service || status.code() == Code::Unavailable {
            return Refusal::from_service(status, &self.pool, &self.options.json);
        }
        let limit = self.options.limits.message_bytes;
        let message = match status.code() {
            Code::OutOfRange => format!(
                "the service's message is larger than {limit} bytes; ask for less at a time, or raise `limits.message_bytes`"
            ),
            _ => format!("{}; the service and its schema do not agree", status.message()),
        };
        Refusal::new(Code::Internal, message).with_http(StatusCode::BAD_GATEWAY)
    }
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let message = format!("the service's answer has no JSON form: {error}; correct the service");
    Refusal::new(Code::Internal, message).with_http(StatusCode::BAD_GATEWAY)
}

/// Envoy keeps the deadline of a call too, by a clock that is as coarse as its loop: it may be first.
const KEPT_BY_OTHERS: Duration = Duration::from_millis(20);

/// Whether what was broken off now was so because of its deadline.
pub(super) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() + KEPT_BY_OTHERS >= deadline)
}

/// The call took longer than its caller waits.
pub(super) fn too_late() -> Refusal {
    Refusal::new(
        Code::DeadlineExceeded,
        "the service did not answer in time; try again, or allow it more time",
    )
}

impl Framing {
    /// What the client asked for, of a stream of JSON.
    pub(super) fn asked_by(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = accepted
            .flat_map(|value| value.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        if types.any(|range| range == "text/event-stream") { Self::Events } else { Self::Lines }
    }

    pub(super) fn headers(self) -> HeaderMap {
        let content_type = match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Raw => "application/octet-stream",
        };
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    fn frame(self, document: Bytes, is_error: bool) -> Bytes {
        let (before, after): (&[u8], &[u8]) = match self {
            Self::Lines => (b"", b"\n"),
            Self::Events if is_error => (b"event: error\ndata: ", b"\n\n"),
            Self::Events => (b"data: ", b"\n\n"),
            Self::Raw => return document,
        };
        // The document owns its buffer, so a line's end is added in place where there is room.
        let mut text =
            if before.is_empty() { Vec::from(document) } else { [before, &document].concat() };
        text.extend_from_slice(after);
        text.into()
    }
}

impl AnswerStream {
    /// The next frame: `None` at the end, which is also after an error.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenAnswer>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let Some(messages) = &mut self.messages else {
            return Poll::Ready(None);
        };
        let late = self.deadline.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if late {
            return Poll::Ready(Some(self.fail(too_late())));
        }
        let document = match ready!(Pin::new(messages).poll_next(cx)) {
            None => {
                self.messages = None;
                return Poll::Ready(None);
            }
            Some(Ok(message)) if self.framing == Framing::Raw => Ok(self.shape.raw(&message).1),
            Some(Ok(message)) => self.shape.json(&message),
            Some(Err(status)) => {
                let by_service = self.ended_by_service.load(Ordering::Relaxed);
                let deadline = self.deadline.as_ref().map(|sleep| sleep.deadline());
                let is_cut = !by_service && status.code() == Code::Unavailable;
                Err(if is_cut && is_over(deadline) {
                    too_late()
                } else {
                    self.shape.refuse(&status, by_service)
                })
            }
        };
        Poll::Ready(Some(match document {
            Ok(document) => Ok(self.framing.frame(document, false)),
            Err(refusal) => self.fail(refusal),
        }))
    }

    /// The stream's last frame; the call ends with it.
    fn fail(&mut self, refusal: Refusal) -> Result<Bytes, BrokenAnswer> {
        self.messages = None;
        let status = refusal.into_status();
        let text = encode::to_bytes(&LastLine { error: &status });
        let text = text.map_err(|error| BrokenAnswer(error.to_string()))?;
        if self.framing == Framing::Raw {
            return Err(BrokenAnswer(String::from_utf8_lossy(&text).into_owned()));
        }
        Ok(self.framing.frame(text, true))
    }
}

impl AnswerBody {
    /// A body that is known.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Kept::Whole(bytes))
    }

    pub(super) fn stream(stream: AnswerStream) -> Self {
        Self(Kept::Stream(Box::new(stream)))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenAnswer>>> {
        match &mut self.0 {
            Kept::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kept::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kept::Stream(stream) => {
                stream.poll_next(cx).map(|next| next.map(|data| data.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kept::Whole(bytes) => bytes.is_empty(),
            Kept::Stream(stream) => stream.messages.is_none() && stream.first.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kept::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kept::Stream(_) => SizeHint::default(),
        }
    }
}
