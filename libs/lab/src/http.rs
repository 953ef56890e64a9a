//! A client for one request at a time: HTTP/1.1, a gRPC unary call, or a WebSocket, also from inside a network namespace.
//!
//! Each call has a connection of its own, so that no answer depends on what an earlier one left behind.
//! Deliberately absent: pools, redirects, retries, TLS.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;

use crate::LabError;
use crate::netns::NetNs;

mod api;

pub use api::Api;

const DEADLINE: Duration = Duration::from_secs(15);

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Where the client stands.
#[derive(Debug, Clone, Default)]
pub struct Client {
    netns: Option<NetNs>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Trailers.
    pub trailers: HeaderMap,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.body)
            .map_err(|_| format!("no JSON but {} {:?}", self.status, self.text()))
    }

    /// `grpc-status` and `grpc-message`, from the trailers or, without a body, from the headers.
    pub fn grpc_status(&self) -> Option<(u32, String)> {
        let field = |name: &str| {
            let value = self.trailers.get(name).or_else(|| self.headers.get(name))?;
            value.to_str().ok()
        };
        let code = field("grpc-status")?.parse().ok()?;
        Some((code, field("grpc-message").unwrap_or_default().to_owned()))
    }

    /// The message of a unary gRPC answer, out of its frame.
    pub fn grpc_message(&self) -> Bytes {
        self.body.slice(self.body.len().min(5)..)
    }
}

impl Client {
    /// A client in the lab's own network namespace.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client inside a network namespace.
    pub fn inside(netns: Option<&NetNs>) -> Self {
        Self { netns: netns.cloned() }
    }

    /// `GET path` at `address`, with `host` as the authority.
    pub async fn get(
        &self,
        address: SocketAddr,
        host: &str,
        path: &str,
    ) -> Result<Answer, LabError> {
        self.send(address, host, Method::GET, path, Bytes::new()).await
    }

    /// A request, whatever its answer.
    pub async fn send(
        &self,
        address: SocketAddr,
        host: &str,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, LabError> {
        let request = Request::builder().method(method).uri(path).header(header::HOST, host);
        self.exchange(address, request, body).await
    }

    /// A request with headers of its own, whatever its answer.
    pub async fn exchange(
        &self,
        address: SocketAddr,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<Answer, LabError> {
        let word = |part: Option<String>| part.unwrap_or_default();
        let what = format!(
            "{} {} at {address}",
            word(request.method_ref().map(ToString::to_string)),
            word(request.uri_ref().map(ToString::to_string)),
        );
        let exchange = async {
            let request = request.body(Full::new(body))?;
            let io = TokioIo::new(self.connect(address).await?);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            let answer = async move { read(sender.send_request(request).await?).await };
            // An error of the connection reaches the answer too.
            let (answer, _) = futures::future::join(answer, connection).await;
            answer
        };
        finish(what, exchange).await
    }

    /// A request whose answer must be a success.
    pub async fn expect(
        &self,
        address: SocketAddr,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Answer, LabError> {
        let answer = self.send(address, &address.to_string(), method.clone(), path, body).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(LabError::Refused {
            request: format!("{method} http://{address}{path}"),
            status: answer.status.as_u16(),
            body: answer.text(),
        })
    }

    /// A unary gRPC call over HTTP/2 with prior knowledge.
    pub async fn grpc(
        &self,
        address: SocketAddr,
        authority: &str,
        path: &str,
        message: &[u8],
    ) -> Result<Answer, LabError> {
        let what = format!("gRPC {path} of {authority} at {address}");
        let exchange = async {
            let request = grpc_request(authority, path, message)?;
            let io = TokioIo::new(self.connect(address).await?);
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            let answer = async move { read(sender.send_request(request).await?).await };
            let (answer, _) = futures::future::join(answer, connection).await;
            answer
        };
        finish(what, exchange).await
    }

    /// Upgrades to a WebSocket.
    pub async fn websocket(
        &self,
        address: SocketAddr,
        host: &str,
        path: &str,
    ) -> Result<WebSocketStream<TcpStream>, LabError> {
        let what = format!("WebSocket ws://{host}{path} at {address}");
        let exchange = async {
            let stream = self.connect(address).await?;
            let upgrade =
                tokio_tungstenite::client_async(format!("ws://{host}{path}"), stream).await;
            Ok(upgrade.map_err(Box::new)?.0)
        };
        finish(what, exchange).await
    }

    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let stream = match &self.netns {
            Some(netns) => netns.connect(address).await?,
            None => TcpStream::connect(address).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

async fn finish<T>(
    request: String,
    exchange: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, LabError> {
    let answer = tokio::time::timeout(DEADLINE, exchange)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {DEADLINE:?}").into()));
    answer.map_err(|source| LabError::Request { request, source })
}

pub(crate) fn grpc_request(
    authority: &str,
    path: &str,
    message: &[u8],
) -> Result<Request<Full<Bytes>>, BoxError> {
    let length = u32::try_from(message.len())?;
    let frame = [&[0], length.to_be_bytes().as_slice(), message].concat();
    let request = Request::post(format!("http://{authority}{path}"))
        .version(http::Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(Bytes::from(frame)))?;
    Ok(request)
}

pub(crate) async fn read(
    response: http::Response<hyper::body::Incoming>,
) -> Result<Answer, BoxError> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
}
