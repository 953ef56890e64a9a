//! Requests that are made beforehand, and sending them as fast as they are taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::sink::Sink;

/// Spans of a request: what an SDK's batch is like.
const SPANS: u32 = 100;
/// Different requests; more would measure the memory of the sender.
const DIFFERENT: u32 = 50;
/// Requests under way.
const SENDERS: u32 = 8;
const PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

pub(super) struct Load {
    frames: Arc<[Bytes]>,
    requests: u32,
}

impl Load {
    pub(super) fn new(requests: u32) -> Self {
        Self { frames: (0..DIFFERENT).map(frame).collect(), requests }
    }

    pub(super) fn spans(&self) -> f64 {
        f64::from(self.requests * SPANS)
    }

    /// Sends all of it and waits until the sink has it.
    pub(super) async fn send(
        &self,
        to: SocketAddr,
        sink: &Sink,
        deadline: Duration,
    ) -> anyhow::Result<Duration> {
        let before = sink.spans();
        let begin = Instant::now();
        let next = Arc::new(AtomicU32::new(0));
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            let (frames, next, requests) =
                (Arc::clone(&self.frames), Arc::clone(&next), self.requests);
            senders.spawn(sender(to, frames, next, requests));
        }
        while let Some(ended) = senders.join_next().await {
            ended??;
        }
        let wanted = before + u64::from(self.requests * SPANS);
        while sink.spans() < wanted {
            if begin.elapsed() > deadline {
                bail!("{} of {wanted} spans arrived", sink.spans());
            }
            sink.changed().await;
        }
        if sink.spans() > wanted {
            bail!("more spans arrived than were sent");
        }
        Ok(begin.elapsed())
    }
}

async fn sender(
    to: SocketAddr,
    frames: Arc<[Bytes]>,
    next: Arc<AtomicU32>,
    requests: u32,
) -> anyhow::Result<()> {
    let mut sender = Sender::new(to);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= requests {
            return Ok(());
        }
        let index = usize::try_from(number % DIFFERENT)?;
        let body = frames.get(index).cloned().unwrap_or_default();
        while !sender.send(body.clone()).await? {
            // It is full: the same again, as an SDK would do it.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Sends requests one after the other.
pub(super) struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    to: SocketAddr,
}

impl Sender {
    pub(super) fn new(to: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).http2_only(true).build_http(), to }
    }

    /// Whether the request was taken; `false`: it is to be sent again.
    async fn send(&mut self, body: Bytes) -> anyhow::Result<bool> {
        let request = Request::post(format!("http://{}{PATH}", self.to))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(body))?;
        let answer = self.client.request(request).await.context("the contender does not answer")?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?;
        let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
        match status.or_else(|| head.headers.get("grpc-status")).map(http::HeaderValue::as_bytes) {
            Some(b"0") => Ok(true),
            Some(b"8" | b"14") => Ok(false),
            other => bail!("a request was answered {other:?}"),
        }
    }

    /// Sends spans that nobody sent before; gives their ids if they were taken.
    pub(super) async fn send_new(&mut self, number: u32) -> anyhow::Result<Vec<u64>> {
        let is_taken = self.send(frame(number)).await?;
        let ids = (0..SPANS).map(|index| id(number, index));
        // A span's id is the last half of its trace's.
        Ok(if is_taken {
            ids.map(|id| u64::try_from(id & u128::from(u64::MAX)).unwrap_or_default()).collect()
        } else {
            Vec::new()
        })
    }
}

/// Ids that compress as badly as real ones.
const fn id(number: u32, index: u32) -> u128 {
    ((number * SPANS + index + 1) as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

/// A request in its gRPC frame.
fn frame(number: u32) -> Bytes {
    let message = request(number).encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

fn request(number: u32) -> ExportTraceServiceRequest {
    let text = |key: &str, value: String| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    };
    let now = now_ns();
    let span = |index: u32| {
        // Ids that compress as badly as real ones.
        let mix = u128::from(number * SPANS + index + 1)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let id = mix.to_be_bytes();
        Span {
            trace_id: id.to_vec(),
            span_id: id.iter().skip(8).copied().collect(),
            parent_span_id: id.iter().take(8).copied().collect(),
            name: format!("GET /orders/{{id}}/items/{}", index % 7),
            kind: 2,
            start_time_unix_nano: now + u64::from(index) * 1000,
            end_time_unix_nano: now + u64::from(index) * 1000 + 52_000,
            attributes: vec![
                text("http.request.method", "GET".to_owned()),
                text("url.path", format!("/orders/{}/items/{}", number * 31 + index, index % 7)),
                text("server.address", "orders.trading.mesh".to_owned()),
                text("http.response.status_code", "200".to_owned()),
                text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64)".to_owned()),
                text("client.address", format!("10.20.{}.{}", index % 250, number % 250)),
            ],
            ..Span::default()
        }
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", "orders".to_owned()),
                    text("telemetry.sdk.language", "rust".to_owned()),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "http".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: (0..SPANS).map(span).collect(),
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    }
}

#[expect(clippy::disallowed_methods, reason = "spans carry the real time")]
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
