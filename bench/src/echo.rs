//! The gRPC service that the API gateway is measured with: `proto/echo/v1/echo.proto`, as fast as tonic is.
//!
//! In: an address. Out: gRPC with reflection that tells `google.api.http`, and `/plain` for requests that nobody
//! converts. Called by the program `echo`. **Absent**: anything that would cost more than the call itself.

use std::net::SocketAddr;
use std::pin::Pin;

use axum::routing::get;
use samples::reflection::Reflection;
use tokio_stream::Stream;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use self::proto::echo_server::{Echo, EchoServer};
use self::proto::{CountRequest, Message};

/// Generated from `proto/echo/v1/echo.proto`.
pub mod proto {
    #![expect(
        unused_qualifications,
        missing_docs,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    tonic::include_proto!("echo.v1");

    /// The encoded file descriptor set, with options.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

/// Where requests go that nobody converts.
pub const PLAIN: &str = "/plain";
/// The payload of each message of a stream.
pub const STREAMED_PAYLOAD: usize = 64;

#[derive(Debug)]
struct App;

#[tonic::async_trait]
impl Echo for App {
    async fn say(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        Ok(Response::new(request.into_inner()))
    }

    type CountStream = Pin<Box<dyn Stream<Item = Result<Message, Status>> + Send>>;

    async fn count(
        &self,
        request: Request<CountRequest>,
    ) -> Result<Response<Self::CountStream>, Status> {
        let messages = (0..request.into_inner().count).map(|at| Ok(message(at, STREAMED_PAYLOAD)));
        Ok(Response::new(Box::pin(tokio_stream::iter(messages))))
    }
}

/// A message of some fields, the last of this length.
pub fn message(sequence: u32, payload: usize) -> Message {
    Message {
        id: format!("message-{sequence:06}"),
        sequence: sequence.into(),
        price: 1234.5,
        tags: ["alpha", "beta"].map(str::to_owned).to_vec(),
        payload: "abcdefghijklmnopqrstuvwxyz012345".chars().cycle().take(payload).collect(),
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// The address is taken.
pub async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let grpc = Routes::new(EchoServer::new(App))
        .add_service(Reflection::server(proto::DESCRIPTORS)?)
        .into_axum_router()
        .route(PLAIN, get(async || "ok"));
    Ok(Server::builder().add_routes(Routes::from(grpc)).serve(listen).await?)
}
