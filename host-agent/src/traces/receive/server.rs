//! A port for spans: HTTP/1.1 and HTTP/2 on each address, a request at a time through the stages.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_ENCODING};
use http::{HeaderMap, HeaderValue, Request as HttpRequest, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::answer::answer;
use super::decompress::Encoding;
use super::{Accepted, Protocol, ReceiveLimits, Refusal, Request, body, json, zipkin};
use crate::connections::Port;
use crate::instances::Instances;
use crate::traces::pipeline::Pipeline;
use crate::traces::sender::Sender;
use crate::traces::shape::Reject;
use crate::traces::shares::{Share, Shares};

/// Whose spans these are, written by sidecars.
const INSTANCE: &str = "x-mesh-instance";

/// Takes spans.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// What a request may take.
    pub limits: ReceiveLimits,
    /// The memory of requests under way.
    pub memory: Arc<Shares>,
    /// Connections that may still come, of all addresses.
    pub connections: Arc<Semaphore>,
    /// Who is who.
    pub instances: watch::Receiver<Arc<Instances>>,
    /// What is done with spans.
    pub pipeline: Arc<Pipeline>,
}

impl Receiver {
    /// Serves one address until shutdown.
    ///
    /// # Errors
    /// None; the type is that of a task.
    pub async fn run(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Infallible> {
        let mut http = Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.deadline);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(256)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_interval(Duration::from_secs(60))
            .keep_alive_timeout(Duration::from_secs(20));
        let refused = self.pipeline.metrics.refused_connections.clone();
        let port = Port { listener, http, places: Arc::clone(&self.connections), refused };
        let connect = move |stream, peer: SocketAddr| {
            let (receiver, peer) = (self.clone(), peer.ip().to_canonical());
            let service = service_fn(move |request| {
                let receiver = receiver.clone();
                async move { Ok(receiver.answer(peer, request).await) }
            });
            (stream, service)
        };
        port.serve(connect, shutdown).await;
        Ok(())
    }

    async fn answer(&self, peer: IpAddr, request: HttpRequest<Incoming>) -> Response<Body> {
        let (head, incoming) = request.into_parts();
        let instances = Arc::clone(&self.instances.borrow());
        let claimed = head.headers.get(INSTANCE).and_then(|value| value.to_str().ok());
        let sender = Sender::of(claimed, peer, &instances);
        let label = Arc::clone(&sender.label);
        let (protocol, outcome) = match Protocol::of(&head.method, head.uri.path(), &head.headers) {
            Err((protocol, refusal)) => (protocol, Err(refusal)),
            Ok(protocol) => {
                let outcome =
                    self.take(protocol, sender, &head.headers, incoming, &instances).await;
                (protocol, outcome)
            }
        };
        if let Err(refusal) = &outcome {
            self.pipeline.metrics.refused(&label, refusal);
            debug!(sender = %label, %peer, error = %refusal, "A request was refused");
        }
        // What is left of a refused body is not read: over HTTP/1 the connection cannot be used again, which clients are told.
        let is_over = outcome.is_err() && head.version <= Version::HTTP_11;
        let mut answer = answer(protocol, outcome);
        if is_over {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }

    async fn take(
        &self,
        protocol: Protocol,
        sender: Sender,
        headers: &HeaderMap,
        incoming: Incoming,
        instances: &Instances,
    ) -> Result<Accepted, Refusal> {
        let name = if protocol == Protocol::OtlpGrpc {
            "grpc-encoding"
        } else {
            CONTENT_ENCODING.as_str()
        };
        let encoding = Encoding::of(headers.get(name))?;
        let mut share = Share::none(Arc::clone(&self.memory), Arc::clone(&sender.name));
        let reading = body::read(incoming, self.limits.request_bytes, &mut share);
        let body = tokio::time::timeout(self.limits.deadline, reading)
            .await
            .map_err(|_| Refusal::Slow)??;
        let (message, malformed) = self.message(protocol, encoding, &body, &mut share)?;
        drop(body);
        let sender = sender.or_envoy_of(&message, instances);
        if malformed > 0 {
            self.pipeline.metrics.rejected(&sender.label, Reject::Malformed, malformed);
        }
        let request = Request { protocol, sender, message };
        let mut accepted = self.pipeline.accept(request).await?;
        drop(share);
        accepted.reject(Reject::Malformed, malformed);
        Ok(accepted)
    }

    /// The request as OTLP's bytes, and how many spans of it are none.
    fn message(
        &self,
        protocol: Protocol,
        encoding: Encoding,
        body: &Bytes,
        share: &mut Share,
    ) -> Result<(Bytes, u32), Refusal> {
        let limit = self.limits.message_bytes;
        let plain = match protocol {
            Protocol::OtlpGrpc => {
                let (is_compressed, message) = body::unframe(body)?;
                let encoding = if is_compressed { encoding } else { Encoding::Identity };
                encoding.decode(&message, limit, share)?
            }
            _ => encoding.decode(body, limit, share)?,
        };
        // What is parsed into values takes several times its bytes for a moment.
        let is_parsed = !matches!(protocol, Protocol::OtlpGrpc | Protocol::OtlpHttp);
        if is_parsed && !share.grow(plain.len() as u64) {
            return Err(Refusal::Busy);
        }
        let converted = match protocol {
            Protocol::OtlpGrpc | Protocol::OtlpHttp => return Ok((plain, 0)),
            Protocol::OtlpJson => json::read(&plain)?,
            Protocol::ZipkinJson => zipkin::from_json(&plain)?,
            Protocol::ZipkinProto => zipkin::from_proto(&plain)?,
        };
        Ok((converted.message.into(), converted.malformed))
    }
}
