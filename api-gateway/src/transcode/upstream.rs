//! Calls of gRPC services through the gateway's own Envoy.
//!
//! In: a request message. Out: what the service answers, message by message. HTTP/2 with prior knowledge to one address;
//! the service is named by the authority. Dropping a call's answer resets its stream, so that the service sees the
//! cancellation.
//!
//! **Invariants**: an answer that ends without a status is an error; a header of a service that tonic would panic at is
//! removed before.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{CONTENT_TYPE, HeaderValue, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tokio::net::TcpStream;
use tonic::codec::{DecodeBuf, Decoder, EncodeBody, EncodeBuf, Encoder, Streaming};
use tonic::{Code, Status};

use super::metadata::is_base64;
use super::refusal::Refusal;

const GRPC_STATUS: &str = "grpc-status";
const GRPC_MESSAGE: &str = "grpc-message";
const GRPC_DETAILS: &str = "grpc-status-details-bin";

/// Connections to the egress listener of the gateway's Envoy.
#[derive(Debug, Clone)]
pub struct Egress {
    client: Client<Connector, tonic::body::Body>,
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
    /// Connects to this address when the first call is made.
    pub fn new(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .http2_initial_stream_window_size(1 << 20)
            .http2_initial_connection_window_size(8 << 20)
            .build(Connector { address });
        Self { client }
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
        let request = self.request(path, metadata, message)?;
        let response = self.egress.client.request(request).await;
        let (parts, body) = response.map_err(|error| self.unreachable(&error))?.into_parts();
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
        let body = GrpcBody { inner: body, has_status: false, ended: ended_by_service.clone() };
        let decoder = MessageDecoder { output };
        let messages =
            Streaming::new_response(decoder, body, parts.status, None, Some(max_message));
        Ok(Beginning::Answering(Box::new(Answering { headers, messages, ended_by_service })))
    }

    fn request(
        &self,
        path: PathAndQuery,
        metadata: HeaderMap,
        message: DynamicMessage,
    ) -> Result<Request<tonic::body::Body>, Refusal> {
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| {
                Refusal::new(Code::Internal, format!("the call's address: {error}"))
            })?;
        let messages = tokio_stream::once(Ok::<_, Status>(message));
        let body = EncodeBody::new_client(MessageEncoder, messages, None, None);
        let mut request =
            Request::post(uri).body(tonic::body::Body::new(body)).map_err(|error| {
                Refusal::new(Code::Internal, format!("the call's request: {error}"))
            })?;
        *request.headers_mut() = metadata;
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(request)
    }

    fn unreachable(&self, error: &ClientError) -> Refusal {
        let mut cause = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(error) = source {
            cause = format!("{cause}: {error}");
            source = error.source();
        }
        let message = format!(
            "service `{}` cannot be reached: {cause}; try again, and see whether the gateway's Envoy runs",
            self.authority
        );
        Refusal::new(Code::Unavailable, message)
    }
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

/// Opens connections to one address, whatever the request's authority.
#[derive(Debug, Clone)]
struct Connector {
    address: SocketAddr,
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let address = self.address;
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

/// A service's answer, with a status at its end in any case.
struct GrpcBody {
    inner: Incoming,
    has_status: bool,
    ended: Arc<AtomicBool>,
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let message = format!("the service broke its answer off: {error}; try again");
                return Poll::Ready(Some(Err(Status::unavailable(message))));
            }
            None if self.has_status => return Poll::Ready(None),
            None => {
                self.has_status = true;
                return Poll::Ready(Some(Err(Status::unavailable(
                    "the service ended its answer without a status; try again",
                ))));
            }
        };
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                remove_bad_details(&mut trailers);
                if !trailers.contains_key(GRPC_STATUS) {
                    let unknown = HeaderValue::from(i32::from(Code::Unknown));
                    trailers.insert(GRPC_STATUS, unknown);
                    let message = HeaderValue::from_static("the service sent no grpc-status");
                    trailers.insert(GRPC_MESSAGE, message);
                }
                self.has_status = true;
                self.ended.store(true, Ordering::Relaxed);
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
        })))
    }
}

struct MessageEncoder;

impl Encoder for MessageEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(
        &mut self,
        message: DynamicMessage,
        buffer: &mut EncodeBuf<'_>,
    ) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
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
