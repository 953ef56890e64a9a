//! Calls of gRPC services through the gateway's own Envoy.
//!
//! In: a request message. Out: what the service answers, message by message. The service is named by the authority.
//! Dropping a call's answer resets its stream, so that the service sees the cancellation.
//!
//! A call is its head and its message in one write, with the end of the request in the same frame: what comes in pieces
//! wakes Envoy once for each. That is why this stands on h2 and on no client above it.
//!
//! **Invariants**: an answer that ends without a status is an error; a header of a service that tonic would panic at is
//! removed before.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body::{Body, Frame};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::codec::{DecodeBuf, Decoder, Streaming};
use tonic::{Code, Status};

use super::connection::{Connections, Lost, Place};
use super::metadata::is_base64;
use super::refusal::Refusal;

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// The way to the egress listener of the gateway's Envoy.
#[derive(Debug, Clone)]
pub struct Egress {
    connections: Arc<Connections>,
}

/// One service behind the egress listener.
#[derive(Debug, Clone)]
pub struct Upstream {
    egress: Egress,
    authority: Authority,
}

/// A call that the service has begun to answer.
pub(super) struct Answering {
    /// The metadata before the messages.
    pub(super) headers: HeaderMap,
    pub(super) messages: Streaming<DynamicMessage>,
    /// The service itself ended the call: its status is not one that was made on this side.
    pub(super) ended_by_service: Arc<AtomicBool>,
}

/// What the service answers at first.
pub(super) enum Beginning {
    Answering(Box<Answering>),
    /// A status and no message.
    Ended {
        headers: HeaderMap,
        status: Status,
    },
}

impl Egress {
    /// Connects to this address when a call is made that needs a connection.
    pub fn new(address: SocketAddr) -> Self {
        Self { connections: Arc::new(Connections::to(address)) }
    }

    /// The service that the listener knows by this name.
    pub fn service(&self, authority: Authority) -> Upstream {
        Upstream { egress: self.clone(), authority }
    }
}

impl Upstream {
    /// Sends a message; returns when the service begins to answer.
    pub(super) async fn call(
        &self,
        path: PathAndQuery,
        metadata: HeaderMap,
        message: DynamicMessage,
        output: MessageDescriptor,
        max_message: usize,
    ) -> Result<Beginning, Refusal> {
        let request = self.request(path, metadata)?;
        let response = self.egress.connections.call(request, frame(&message)).await;
        let (response, place) = response.map_err(|error| self.unreachable(&error))?;
        let (parts, body) = response.into_parts();
        let mut headers = parts.headers;
        let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if !is_grpc(content_type) {
            let message = format!(
                "service `{}` answers {} with content type {:?}, which is not gRPC; route to a gRPC service, \
                 registered with `mesh_protocol: grpc`",
                self.authority,
                parts.status.as_u16(),
                String::from_utf8_lossy(content_type),
            );
            return Err(Refusal::new(Code::Unavailable, message).with_http(StatusCode::BAD_GATEWAY));
        }
        remove_bad_details(&mut headers);
        if let Some(status) = Status::from_header_map(&headers) {
            return Ok(Beginning::Ended { headers, status });
        }
        let ended_by_service = Arc::new(AtomicBool::new(false));
        let (state, ended) = (State::Data, ended_by_service.clone());
        let body = GrpcBody { inner: body, state, ended, _place: place };
        let decoder = MessageDecoder { output };
        let messages =
            Streaming::new_response(decoder, body, parts.status, None, Some(max_message));
        Ok(Beginning::Answering(Box::new(Answering { headers, messages, ended_by_service })))
    }

    fn request(&self, path: PathAndQuery, metadata: HeaderMap) -> Result<Request<()>, Refusal> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| {
                Refusal::new(Code::Internal, format!("the call's address: {error}"))
            })?;
        let mut request = Request::post(uri).body(()).map_err(|error| {
            Refusal::new(Code::Internal, format!("the call's request: {error}"))
        })?;
        *request.headers_mut() = metadata;
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(request)
    }

    fn unreachable(&self, error: &Lost) -> Refusal {
        let cause = service::ErrorChain(error);
        let message = format!(
            "service `{}` cannot be reached: {cause}; try again, and see whether the gateway's Envoy runs",
            self.authority
        );
        Refusal::new(Code::Unavailable, message)
    }
}

/// A message as gRPC sends it: not compressed, its length, itself.
fn frame(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    // Messages are far smaller: their limit is that of a body.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    frame.freeze()
}

fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.first().is_none_or(|next| b"+; ".contains(next)))
}

/// tonic takes it for granted that these are base64.
fn remove_bad_details(headers: &mut HeaderMap) {
    if headers.get(GRPC_DETAILS).is_some_and(|details| !is_base64(details)) {
        headers.remove(GRPC_DETAILS);
    }
}

/// A service's answer, with a status at its end in any case.
struct GrpcBody {
    inner: RecvStream,
    state: State,
    ended: Arc<AtomicBool>,
    _place: Place,
}

/// What is still to come of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Nothing,
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken = |error: h2::Error| {
            let message = format!("the service broke its answer off: {error}; try again");
            Poll::Ready(Some(Err(Status::unavailable(message))))
        };
        if self.state == State::Data {
            match ready!(self.inner.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Whoever takes it has room for more.
                    if let Err(error) = self.inner.flow_control().release_capacity(data.len()) {
                        return broken(error);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return broken(error),
                None => self.state = State::Trailers,
            }
        }
        if self.state == State::Nothing {
            return Poll::Ready(None);
        }
        let trailers = match ready!(self.inner.poll_trailers(cx)) {
            Ok(trailers) => trailers,
            Err(error) => return broken(error),
        };
        self.state = State::Nothing;
        let Some(mut trailers) = trailers else {
            return Poll::Ready(Some(Err(Status::unavailable(
                "the service ended its answer without a status; try again",
            ))));
        };
        remove_bad_details(&mut trailers);
        if !trailers.contains_key(GRPC_STATUS) {
            trailers.insert(GRPC_STATUS, HeaderValue::from(i32::from(Code::Unknown)));
            let message = HeaderValue::from_static("the service sent no grpc-status");
            trailers.insert(GRPC_MESSAGE, message);
        }
        self.ended.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

struct MessageDecoder {
    output: MessageDescriptor,
}

impl Decoder for MessageDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.output.clone(), buffer);
        message.map(Some).map_err(|error| {
            let name = self.output.full_name();
            Status::internal(format!("the service's message is no `{name}`: {error}"))
        })
    }
}
