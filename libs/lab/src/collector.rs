//! A tracing back end that remembers what it got: OTLP by gRPC and HTTP in, spans out to whoever asks.
//!
//! Tests count span ids with it, the demo shows a request's way with it (`GET /spans`, JSON). It can refuse, be slow and go away,
//! as back ends do. **Absent**: storage beyond the last 100,000 spans; anything clever.

mod answer;
mod spans;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::LabError;
use answer::Body;
pub use spans::Span;

/// Spans that are remembered.
const MOST: usize = 100_000;

/// How requests are answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are taken.
    #[default]
    Take,
    /// They are taken after so long.
    Slow(Duration),
    /// They are refused with this gRPC status, or 503 by HTTP; `retry` adds a RetryInfo of so many seconds.
    Refuse {
        /// google.rpc.Code
        code: u8,
        /// Seconds of a RetryInfo.
        retry: Option<u64>,
    },
    /// They are taken, and the answer says that so many spans were rejected.
    Partial(u64),
    /// Requests with a span of this name are refused with `INVALID_ARGUMENT`, others are taken.
    RefuseNamed(String),
}

/// What came.
#[derive(Debug, Default)]
struct Seen {
    mode: Mode,
    spans: Vec<Span>,
    times: BTreeMap<u64, u32>,
    requests: u64,
}

/// A running back end; it ends with its owner.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    tasks: JoinSet<()>,
}

impl Collector {
    /// Listens on a port of 127.0.0.1 that the kernel chose.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> Result<Self, LabError> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Listens there.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start_at(address: SocketAddr) -> Result<Self, LabError> {
        let mut collector = Self { address, seen: Arc::default(), tasks: JoinSet::new() };
        collector.up().await?;
        Ok(collector)
    }

    /// Listens again, after [`Collector::down`].
    ///
    /// # Errors
    /// When its port was taken meanwhile.
    pub async fn up(&mut self) -> Result<(), LabError> {
        let failed = || LabError::io(format!("listen on {} as a collector", self.address));
        let listener = TcpListener::bind(self.address).await.map_err(failed())?;
        self.address = listener.local_addr().map_err(failed())?;
        self.tasks.spawn(serve(listener, Arc::clone(&self.seen)));
        Ok(())
    }

    /// Goes away: no port, no connections; what came is remembered.
    pub async fn down(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on requests are answered like this.
    pub fn answer(&self, mode: Mode) {
        lock(&self.seen).mode = mode;
    }

    /// The spans that came, the oldest first.
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.seen).spans.clone()
    }

    /// How often each span id came.
    pub fn times(&self) -> BTreeMap<u64, u32> {
        lock(&self.seen).times.clone()
    }

    /// Requests that came, those that were refused too.
    pub fn requests(&self) -> u64 {
        lock(&self.seen).requests
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    let mut connections = JoinSet::new();
    loop {
        let connection = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((connection, _)) = connection else { continue };
        let seen = Arc::clone(&seen);
        let service = hyper::service::service_fn(move |request| {
            let seen = Arc::clone(&seen);
            async move { Ok::<_, Infallible>(take(request, &seen).await) }
        });
        connections.spawn(async move {
            let http = Builder::new(TokioExecutor::new());
            // A connection that breaks is the agent's to notice.
            drop(http.serve_connection(TokioIo::new(connection), service).await);
        });
    }
}

async fn take(request: Request<Incoming>, seen: &Mutex<Seen>) -> Response<Body> {
    if request.method() == Method::GET {
        return answer::json(&lock(seen).spans);
    }
    let is_grpc =
        request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
    let is_gzip = ["grpc-encoding", "content-encoding"]
        .iter()
        .any(|name| request.headers().get(*name).is_some_and(|encoding| encoding == "gzip"));
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let mode = {
        let mut seen = lock(seen);
        seen.requests += 1;
        seen.mode.clone()
    };
    if let Mode::Slow(pause) = mode {
        tokio::time::sleep(pause).await;
    }
    let spans = match spans::read(&body, is_grpc, is_gzip) {
        Ok(spans) => spans,
        Err(_) => return answer::refused(is_grpc, 3, None),
    };
    match mode {
        Mode::Refuse { code, retry } => return answer::refused(is_grpc, code, retry),
        Mode::RefuseNamed(name) if spans.iter().any(|span| span.name == name) => {
            return answer::refused(is_grpc, 3, None);
        }
        _ => {}
    }
    let mut seen = lock(seen);
    for span in &spans {
        *seen.times.entry(span.span).or_default() += 1;
    }
    let surplus = (seen.spans.len() + spans.len()).saturating_sub(MOST).min(seen.spans.len());
    seen.spans.drain(..surplus);
    seen.spans.extend(spans);
    answer::taken(is_grpc, if let Mode::Partial(rejected) = mode { rejected } else { 0 })
}
