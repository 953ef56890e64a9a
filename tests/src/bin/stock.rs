//! `stock`: a gRPC application of whatever schema it is given, for tests of what stands before it.
//!
//! In: an encoded descriptor set with `stock.v1` services. Out: each call is answered with what it said, who answers and
//! the metadata that came with it; fields of the message say how the call is to go. A call that sleeps, or is cancelled, is
//! logged.
//! Its reflection tells the descriptor set, nothing, or the set without the files that it imports.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, MethodDescriptor, Value};
use prost_types::FileDescriptorSet;
use samples::reflection::Reflection;
use samples::{Flags, log, told_to_stop};
use serde_json::json;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::server::Grpc;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};
use tonic_reflection::pb::v1::server_reflection_server::{
    ServerReflection, ServerReflectionServer,
};
use tonic_reflection::server::Builder;
use tower::service_fn;

type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

#[derive(Debug, Parser)]
struct Options {
    #[command(flatten)]
    flags: Flags,
    /// The encoded descriptor set.
    #[arg(long)]
    schema: PathBuf,
    /// What reflection tells.
    #[arg(long, default_value = "all")]
    reflection: Told,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Told {
    All,
    Nothing,
    /// All but a file that the schema imports.
    Torn,
}

#[derive(Clone)]
struct App {
    instance: String,
}

impl App {
    /// The answer to a message: the same, with what only the server knows.
    async fn answer(&self, request: Request<DynamicMessage>) -> Result<DynamicMessage, Status> {
        let metadata = Value::Map(text(request.metadata()).collect());
        let mut message = request.into_inner();
        let call = Call::begin(&message);
        let sleep = call.millis("sleep_ms");
        if !sleep.is_zero() {
            call.log("sleeping");
        }
        tokio::time::sleep(sleep).await;
        let code = call.number("fail");
        call.end();
        if code != 0 {
            let code = Code::from(i32::try_from(code).unwrap_or_default());
            return Err(Status::new(code, "as the message asked"));
        }
        message.set_field_by_name("instance", Value::String(self.instance.clone()));
        message.set_field_by_name("metadata", metadata);
        Ok(message)
    }

    async fn unary(
        self,
        request: Request<DynamicMessage>,
    ) -> Result<Response<DynamicMessage>, Status> {
        let mut response = Response::new(self.answer(request).await?);
        response.metadata_mut().insert("x-stock", tonic::metadata::MetadataValue::from_static("1"));
        Ok(response)
    }

    async fn stream(self, request: Request<DynamicMessage>) -> Result<Response<Messages>, Status> {
        let message = self.answer(request).await?;
        let call = Call::begin(&message);
        let (count, pause) = (call.number("count").max(1), call.millis("interval_ms"));
        let messages = tokio_stream::iter(0..count).map(move |at| {
            if at + 1 == count {
                call.end();
            }
            Ok(message.clone())
        });
        Ok(Response::new(Box::pin(messages.throttle(pause))))
    }
}

/// A call under way; one that is dropped before its end was cancelled.
struct Call {
    message: DynamicMessage,
    has_ended: std::sync::atomic::AtomicBool,
}

impl Call {
    fn begin(message: &DynamicMessage) -> Self {
        Self { message: message.clone(), has_ended: false.into() }
    }

    fn log(&self, what: &str) {
        let name = self.message.get_field_by_name("name");
        log(&json!({what: name.as_deref().and_then(Value::as_str)}));
    }

    fn end(&self) {
        self.has_ended.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn number(&self, field: &str) -> u32 {
        let value = self.message.get_field_by_name(field);
        let number = |value: &Value| value.as_u32().or_else(|| value.as_i32()?.try_into().ok());
        value.as_deref().and_then(number).unwrap_or_default()
    }

    fn millis(&self, field: &str) -> Duration {
        Duration::from_millis(self.number(field).into())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.has_ended.load(std::sync::atomic::Ordering::Relaxed) {
            self.log("cancelled");
        }
    }
}

fn text(metadata: &MetadataMap) -> impl Iterator<Item = (MapKey, Value)> {
    metadata.iter().filter_map(|pair| match pair {
        KeyAndValueRef::Ascii(name, value) => {
            let value = Value::String(value.to_str().ok()?.to_owned());
            Some((MapKey::String(name.to_string()), value))
        }
        KeyAndValueRef::Binary(..) => None,
    })
}

/// Messages of one method.
struct Dynamic(MethodDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(out).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.input(), bytes);
        message.map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

async fn serve(
    pool: DescriptorPool,
    app: App,
    request: http::Request<Body>,
) -> http::Response<Body> {
    let path = request.uri().path().trim_start_matches('/').replace('/', ".");
    let method = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let method = method.into_iter().find(|method| method.full_name() == path);
    let Some(method) = method else {
        return Status::unimplemented(format!("this version has no {path}")).into_http();
    };
    let is_streaming = method.is_server_streaming();
    let mut grpc = Grpc::new(Dynamic(method));
    if is_streaming {
        grpc.server_streaming(service_fn(move |request| app.clone().stream(request)), request).await
    } else {
        grpc.unary(service_fn(move |request| app.clone().unary(request)), request).await
    }
}

/// Reflection that lacks a file which the schema imports.
fn torn(schema: &[u8]) -> anyhow::Result<ServerReflectionServer<impl ServerReflection>> {
    let mut set = FileDescriptorSet::decode(schema)?;
    set.file.retain(|file| file.name() != "stock/v1/place.proto");
    Ok(Builder::configure().register_file_descriptor_set(set).build_v1()?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { flags, schema, reflection } = Options::parse();
    let schema = std::fs::read(schema)?;
    let pool = DescriptorPool::decode(schema.as_slice())?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let mut routes = Routes::new(health_service);
    match reflection {
        Told::All => routes = routes.add_service(Reflection::server(&schema)?),
        Told::Torn => routes = routes.add_service(torn(&schema)?),
        Told::Nothing => {}
    }
    let app = App { instance: flags.instance };
    let calls = service_fn(move |request: http::Request<axum::body::Body>| {
        let (pool, app) = (pool.clone(), app.clone());
        async move { Ok::<_, std::convert::Infallible>(serve(pool, app, request.map(Body::new)).await) }
    });
    let router = routes.into_axum_router().fallback_service(calls);
    Server::builder()
        .add_routes(Routes::from(router))
        .serve_with_shutdown(flags.listen, told_to_stop())
        .await?;
    Ok(())
}
