//! A gRPC service of the test schema, on tonic: it returns what it gets, and remembers how calls ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use crate::schema;

/// What the service saw, latest values.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Calls of `Slow` and `Count` that began and that were dropped before their end.
    pub(crate) begun: usize,
    pub(crate) cancelled: usize,
    /// Messages that `Count` made.
    pub(crate) made: usize,
    /// Headers of the last call.
    pub(crate) headers: http::HeaderMap,
}

#[derive(Clone)]
pub(crate) struct Service {
    seen: Arc<watch::Sender<Seen>>,
}

impl Service {
    /// Serves on loopback as long as the set lives.
    pub(crate) async fn start(
        tasks: &mut JoinSet<()>,
    ) -> (std::net::SocketAddr, Arc<watch::Sender<Seen>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(watch::Sender::new(Seen::default()));
        let service = Self { seen: seen.clone() };
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(service.clone());
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new()).http2_only();
                    // A client may go at any time.
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        (address, seen)
    }
}

impl tower::Service<Request<hyper::body::Incoming>> for Service {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let seen = self.seen.clone();
        seen.send_modify(|seen| seen.headers = request.headers().clone());
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let echo = schema::pool().get_service_by_name("echo.v1.Echo").unwrap();
            let Some(rpc) = echo.methods().find(|rpc| rpc.name() == method) else {
                return Ok(not_grpc());
            };
            let codec = AnyCodec { input: rpc.input() };
            let mut grpc = tonic::server::Grpc::new(codec);
            Ok(match method.as_str() {
                "Count" | "Download" => {
                    let output = rpc.output();
                    let stream =
                        tower::service_fn(move |request: tonic::Request<DynamicMessage>| {
                            let begun = Begun::new(&seen);
                            let output = output.clone();
                            async move {
                                let stream = count(request.into_inner(), output, begun);
                                Ok::<_, Status>(tonic::Response::new(stream))
                            }
                        });
                    grpc.server_streaming(stream, request).await
                }
                _ => {
                    let unary =
                        tower::service_fn(move |request: tonic::Request<DynamicMessage>| {
                            let (seen, method) = (seen.clone(), method.clone());
                            async move { answer(&method, request, &seen).await }
                        });
                    grpc.unary(unary, request).await
                }
            })
        })
    }
}

fn not_grpc() -> Response<tonic::body::Body> {
    let body =
        http_body_util::Full::new(bytes::Bytes::from("<html>")).map_err(|never| match never {});
    let mut response = Response::new(tonic::body::Body::new(body));
    response.headers_mut().insert("content-type", "text/html".parse().unwrap());
    response
}

async fn answer(
    method: &str,
    request: tonic::Request<DynamicMessage>,
    seen: &Arc<watch::Sender<Seen>>,
) -> Result<tonic::Response<DynamicMessage>, Status> {
    let message = request.get_ref();
    let metadata = request.metadata().clone();
    match method {
        "Fail" => return Err(failure(message)),
        "Slow" => {
            let begun = Begun::new(seen);
            match number(message, "maybe_number") {
                Some(wait) => {
                    tokio::time::sleep(Duration::from_millis(wait.try_into().unwrap())).await
                }
                None => std::future::pending().await,
            }
            begun.ended();
        }
        _ => {}
    }
    let mut response = tonic::Response::new(request.into_inner());
    *response.metadata_mut() = answered(&metadata);
    Ok(response)
}

/// Some metadata, of which not all may reach the client.
fn answered(asked: &MetadataMap) -> MetadataMap {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-answered", "yes".parse().unwrap());
    headers.insert("x-envoy-secret", "no".parse().unwrap());
    if let Some(asked) = asked.get("x-asked") {
        headers.insert("x-asked", asked.to_str().unwrap().parse().unwrap());
    }
    MetadataMap::from_headers(headers)
}

fn failure(message: &DynamicMessage) -> Status {
    let code = Code::from(number(message, "int32_value").unwrap());
    let text = message.get_field_by_name("text").unwrap().as_str().unwrap().to_owned();
    let mut details = Vec::new();
    if message.has_field_by_name("any") {
        let any = message.get_field_by_name("any").unwrap().as_message().unwrap().encode_to_vec();
        // google.rpc.Status{details: [any]}
        prost::encoding::encode_key(3, prost::encoding::WireType::LengthDelimited, &mut details);
        prost::encoding::encode_varint(any.len() as u64, &mut details);
        details.extend(any);
    }
    let metadata = answered(&MetadataMap::new());
    Status::with_details_and_metadata(code, text, details.into(), metadata)
}

fn number(message: &DynamicMessage, field: &str) -> Option<i32> {
    message
        .has_field_by_name(field)
        .then(|| message.get_field_by_name(field).unwrap().as_i32().unwrap())
}

/// Counts calls that are dropped before they end.
struct Begun {
    seen: Arc<watch::Sender<Seen>>,
    is_ended: bool,
}

impl Begun {
    fn new(seen: &Arc<watch::Sender<Seen>>) -> Self {
        seen.send_modify(|seen| seen.begun += 1);
        Self { seen: seen.clone(), is_ended: false }
    }

    fn ended(mut self) {
        self.is_ended = true;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if !self.is_ended {
            self.seen.send_modify(|seen| seen.cancelled += 1);
        }
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

fn count(asked: DynamicMessage, output: MessageDescriptor, begun: Begun) -> Messages {
    let total = number(&asked, "int32_value").unwrap_or(0);
    let hangs = asked.get_field_by_name("bool_value").unwrap().as_bool().unwrap();
    let size = usize::try_from(number(&asked, "sint32_value").unwrap_or(0)).unwrap();
    let fails = number(&asked, "maybe_number");
    Box::pin(futures::stream::unfold((0, Some(begun)), move |(at, begun)| {
        let (output, asked) = (output.clone(), asked.clone());
        async move {
            let begun = begun?;
            if at < total {
                begun.seen.send_modify(|seen| seen.made += 1);
                let message = counted(&asked, output, at, size);
                return Some((Ok(message), (at + 1, Some(begun))));
            }
            if hangs {
                std::future::pending::<()>().await;
            }
            begun.ended();
            let code = fails?;
            Some((Err(Status::new(Code::from(code), "stream failed")), (at, None)))
        }
    }))
}

fn counted(
    asked: &DynamicMessage,
    output: MessageDescriptor,
    at: i32,
    size: usize,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(output.clone());
    if output.full_name() == "google.api.HttpBody" {
        message.set_field_by_name("content_type", Value::String("text/csv".to_owned()));
        message.set_field_by_name("data", Value::Bytes(format!("row {at}\n").into_bytes().into()));
    } else {
        message.set_field_by_name("int32_value", Value::I32(at));
        message.set_field_by_name("text", asked.get_field_by_name("text").unwrap().into_owned());
        message.set_field_by_name("data", Value::Bytes(vec![0; size].into()));
    }
    message
}

struct AnyCodec {
    input: MessageDescriptor,
}

impl Codec for AnyCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = AnyEncoder;
    type Decoder = AnyDecoder;

    fn encoder(&mut self) -> AnyEncoder {
        AnyEncoder
    }

    fn decoder(&mut self) -> AnyDecoder {
        AnyDecoder(self.input.clone())
    }
}

struct AnyEncoder;

impl Encoder for AnyEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(
        &mut self,
        message: DynamicMessage,
        buffer: &mut EncodeBuf<'_>,
    ) -> Result<(), Status> {
        message.encode(buffer).unwrap();
        Ok(())
    }
}

struct AnyDecoder(MessageDescriptor);

impl Decoder for AnyDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        Ok(Some(DynamicMessage::decode(self.0.clone(), buffer).unwrap()))
    }
}
