//! The load: HTTP/1.1 requests on kept connections, by a schedule or one after the other.
//!
//! In: a [`Load`]. Out: the latency of each request. A thread for each connection, which sleeps until its next request is
//! due: an async timer wakes at whole milliseconds, and what is measured here is a tenth of one.
//!
//! **Invariants**: on a schedule a latency counts from the moment at which the request was due, so that a slow answer
//! costs those behind it too; one answer that is not 200 ends the run.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;

/// What is asked, of whom.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    /// Where.
    pub address: SocketAddr,
    /// The method.
    pub method: Method,
    /// The path.
    pub path: String,
    /// Headers beside `host`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// How often it is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Connections.
    pub connections: u32,
    /// Requests a second; `None`: each connection asks as soon as it has its answer.
    pub rate: Option<u32>,
    /// How long.
    pub span: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// Of each request, in milliseconds.
    pub latencies: Vec<f64>,
    /// From the first request to the last answer, in seconds.
    pub elapsed: f64,
}

impl Report {
    /// Requests that were answered.
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    pub(super) fn count(&self) -> f64 {
        self.latencies.len() as f64
    }
}

impl Load {
    /// Asks, on threads of its own.
    ///
    /// # Errors
    /// A connection fails, or an answer is not 200.
    pub(super) async fn run(self, ask: &Ask) -> anyhow::Result<Report> {
        let ask = ask.clone();
        tokio::task::spawn_blocking(move || self.block(&ask)).await.context("the load panicked")?
    }

    fn block(self, ask: &Ask) -> anyhow::Result<Report> {
        let begin = Instant::now() + Duration::from_millis(50);
        let reports = std::thread::scope(|scope| {
            let start = |at| scope.spawn(move || self.connection(at, ask, begin));
            let threads: Vec<_> = (0..self.connections).map(start).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| bail!("a connection's thread panicked"))
            };
            threads.into_iter().map(join).collect::<anyhow::Result<Vec<Vec<f64>>>>()
        })?;
        let elapsed = begin.elapsed().as_secs_f64();
        Ok(Report { latencies: reports.concat(), elapsed })
    }

    /// The requests of one connection, which take turns with those of the others.
    fn connection(self, at: u32, ask: &Ask, begin: Instant) -> anyhow::Result<Vec<f64>> {
        let mut connection = Connection::open(ask)?;
        let turn = self.rate.map(|rate| Duration::from_secs(1) / rate.max(1));
        let mut latencies = Vec::new();
        let mut due = begin + turn.map_or(Duration::ZERO, |turn| turn * at);
        let end = begin + self.span;
        while due < end {
            sleep_until(due);
            connection.exchange(ask)?;
            latencies.push(due.elapsed().as_secs_f64() * 1e3);
            due = turn.map_or_else(Instant::now, |turn| due + turn * self.connections);
        }
        Ok(latencies)
    }
}

#[expect(clippy::disallowed_methods, reason = "a schedule in microseconds, on a thread of its own")]
fn sleep_until(due: Instant) {
    std::thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// One request on a connection of its own; its body, and how long it took in milliseconds.
///
/// # Errors
/// The connection fails, or the answer is not 200.
pub(super) async fn once(ask: &Ask) -> anyhow::Result<(Bytes, f64)> {
    let ask = ask.clone();
    let exchange = move || {
        let mut connection = Connection::open(&ask)?;
        let begin = Instant::now();
        let body = connection.exchange(&ask)?;
        Ok((body, begin.elapsed().as_secs_f64() * 1e3))
    };
    tokio::task::spawn_blocking(exchange).await.context("the request panicked")?
}

/// A kept connection, driven by the thread that waits for its answers.
struct Connection {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; ends with the value.
    _driver: JoinSet<hyper::Result<()>>,
}

impl Connection {
    fn open(ask: &Ask) -> anyhow::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        let (sender, driver) = runtime.block_on(async {
            let stream = TcpStream::connect(ask.address).await;
            let stream = stream.with_context(|| format!("cannot connect to {}", ask.address))?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            let mut driver = JoinSet::new();
            driver.spawn(connection);
            Ok::<_, anyhow::Error>((sender, driver))
        })?;
        Ok(Self { runtime, sender, _driver: driver })
    }

    fn exchange(&mut self, ask: &Ask) -> anyhow::Result<Bytes> {
        let mut request = Request::builder().method(ask.method.clone()).uri(&ask.path);
        request = request.header(header::HOST, "bench");
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(ask.body.clone()))?;
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            sender.ready().await?;
            let (head, body): (_, Incoming) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            if head.status != StatusCode::OK {
                let text = String::from_utf8_lossy(&body);
                bail!("{} answers {}: {text}", ask.path, head.status);
            }
            Ok(body)
        })
    }
}
