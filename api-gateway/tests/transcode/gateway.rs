//! `transcode::call` behind a real HTTP server, before a real gRPC service; and clients of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api_gateway::transcode::{Api, Egress, Options, call};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::schema;
use crate::service::{Seen, Service};

/// All of it; ends when dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<watch::Sender<Seen>>,
    client: Client<HttpConnector, Full<Bytes>>,
    _tasks: JoinSet<()>,
}

/// What a client got.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The error's message.
    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn api() -> Arc<Api> {
    Arc::new(Api::compile(&schema::pool(), &["echo.v1.Echo".to_owned()]).unwrap())
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        Self::with(vec![api()], Options::default()).await
    }

    pub(crate) async fn with(apis: Vec<Arc<Api>>, options: Options) -> Self {
        let mut tasks = JoinSet::new();
        let (service, seen) = Service::start(&mut tasks).await;
        Self::before(service, seen, apis, options, tasks).await
    }

    /// A gateway before a service at this address, whatever is there.
    pub(crate) async fn before(
        service: SocketAddr,
        seen: Arc<watch::Sender<Seen>>,
        apis: Vec<Arc<Api>>,
        options: Options,
        mut tasks: JoinSet<()>,
    ) -> Self {
        let upstream = Egress::new(service).service("echo".parse().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = Arc::new(options);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (apis, upstream, options) = (apis.clone(), upstream.clone(), options.clone());
                connections.spawn(async move {
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let (apis, upstream, options) =
                            (apis.clone(), upstream.clone(), options.clone());
                        async move {
                            Ok::<_, std::convert::Infallible>(
                                call(&apis, &upstream, &options, request).await,
                            )
                        }
                    });
                    let server = auto::Builder::new(TokioExecutor::new());
                    // A client may go at any time.
                    drop(server.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        });
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { address, seen, client, _tasks: tasks }
    }

    pub(crate) async fn begin(
        &self,
        request: http::request::Builder,
        path: &str,
        body: &str,
    ) -> http::Response<Incoming> {
        let uri = format!("http://{}{path}", self.address);
        let request = request.uri(uri).body(Full::from(body.to_owned())).unwrap();
        let response = tokio::time::timeout(Duration::from_secs(20), self.client.request(request));
        response.await.expect("an answer within 20 s").unwrap()
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        path: &str,
        body: &str,
    ) -> Got {
        let (parts, body) = self.begin(request, path, body).await.into_parts();
        let body = tokio::time::timeout(Duration::from_secs(20), body.collect());
        let body = body.await.expect("a whole answer within 20 s").unwrap().to_bytes();
        Got { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.send(Request::get("/"), path, "").await
    }

    pub(crate) async fn json(&self, method: Method, path: &str, body: &str) -> Got {
        let request = Request::builder().method(method).header("content-type", "application/json");
        self.send(request, path, body).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Got {
        self.json(Method::POST, path, body).await
    }

    /// Waits until the service saw this.
    pub(crate) async fn await_seen(&self, what: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let reached = tokio::time::timeout(Duration::from_secs(20), seen.wait_for(what)).await;
        reached.expect("the service sees it within 20 s").unwrap().clone()
    }
}
