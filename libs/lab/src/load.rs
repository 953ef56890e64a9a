//! An open-loop load: requests leave on a fixed schedule, whatever happens to those before them.
//!
//! A slow answer therefore costs latency (measured from the scheduled moment) and never hides the requests that a
//! waiting client would not have sent. Nothing is retried here: each failure is counted with its reason.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, request};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;

use crate::LabError;
use crate::http::{Answer, Client, grpc_request, read};

type Connector = BoxCloneSyncService<Uri, TokioIo<tokio::net::TcpStream>, std::io::Error>;
type Pool = legacy::Client<Connector, Full<Bytes>>;

/// A kind of request.
#[derive(Debug, Clone)]
pub enum Call {
    /// HTTP/1.1 `GET`: proxies may try it again.
    Get,
    /// HTTP/1.1 `POST`: once sent, no proxy may try it again.
    Post,
    /// A gRPC unary call with this message.
    Grpc(Bytes),
}

/// What is sent, how often, to whom.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// Where the client stands.
    pub client: Client,
    /// Where connections go.
    pub address: SocketAddr,
    /// The authority of each request.
    pub host: String,
    /// The path of each request.
    pub path: String,
    /// What each request is.
    pub call: Call,
    /// Requests a second.
    pub rate: u32,
    /// After this time a request has failed.
    pub timeout: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// Requests sent.
    pub sent: u64,
    /// Answered 2xx (gRPC: status 0).
    pub ok: u64,
    /// The others, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Answers by the instance that gave them, where the body names one.
    pub by_instance: BTreeMap<String, u64>,
    latencies: Vec<Duration>,
}

impl LoadReport {
    /// Requests that failed.
    pub fn lost(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Latency below which this share (0 to 1) of the answers was.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index below the length"
        )]
        let index = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
        self.latencies.get(index).copied().unwrap_or_default()
    }

    fn add(&mut self, latency: Duration, outcome: Result<Option<String>, String>) {
        self.sent += 1;
        match outcome {
            Ok(instance) => {
                self.ok += 1;
                self.latencies.push(latency);
                if let Some(instance) = instance {
                    *self.by_instance.entry(instance).or_default() += 1;
                }
            }
            Err(reason) => *self.failed.entry(reason).or_default() += 1,
        }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |share| self.percentile(share).as_secs_f64() * 1000.0;
        write!(f, "{} sent, {} lost", self.sent, self.lost())?;
        for (reason, count) in &self.failed {
            write!(f, ", {count} × {reason}")?;
        }
        write!(
            f,
            "; p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            millis(0.5),
            millis(0.99),
            millis(1.0)
        )
    }
}

/// A load under way.
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    tasks: JoinSet<LoadReport>,
    sent: watch::Receiver<u64>,
}

impl Load {
    /// Begins to send.
    pub fn start(spec: LoadSpec) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (sender, sent) = watch::channel(0);
        tasks.spawn(drive(spec, stop.clone(), sender));
        Self { stop, tasks, sent }
    }

    /// Waits until this many more requests have left.
    pub async fn until_more_sent(&mut self, more: u64) {
        let enough = *self.sent.borrow() + more;
        // The sender is gone only when the load has failed, which `finish` reports.
        self.sent.wait_for(|sent| *sent >= enough).await.ok();
    }

    /// Stops sending, waits for the answers still due, and reports.
    pub async fn finish(mut self) -> Result<LoadReport, LabError> {
        self.stop.cancel();
        match self.tasks.join_next().await {
            Some(Ok(report)) => Ok(report),
            Some(Err(error)) => {
                Err(LabError::Request { request: "the load".to_owned(), source: Box::new(error) })
            }
            None => Ok(LoadReport::default()),
        }
    }
}

async fn drive(spec: LoadSpec, stop: CancellationToken, sent: watch::Sender<u64>) -> LoadReport {
    let pool = pool(&spec);
    let mut report = LoadReport::default();
    let mut under_way = JoinSet::new();
    let mut schedule = tokio::time::interval(Duration::from_secs(1) / spec.rate.max(1));
    schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            due = schedule.tick() => {
                under_way.spawn(one(pool.clone(), spec.clone(), due));
                sent.send_modify(|sent| *sent += 1);
            }
            Some(done) = under_way.join_next() => add(&mut report, done),
        }
    }
    while let Some(done) = under_way.join_next().await {
        add(&mut report, done);
    }
    report.latencies.sort_unstable();
    report
}

type Done = (Duration, Result<Option<String>, String>);

fn add(report: &mut LoadReport, done: Result<Done, tokio::task::JoinError>) {
    match done {
        Ok((latency, outcome)) => report.add(latency, outcome),
        Err(error) => report.add(Duration::ZERO, Err(error.to_string())),
    }
}

async fn one(pool: Pool, spec: LoadSpec, due: Instant) -> Done {
    let outcome = tokio::time::timeout(spec.timeout, exchange(&pool, &spec))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {:?}", spec.timeout)));
    (due.elapsed(), outcome)
}

async fn exchange(pool: &Pool, spec: &LoadSpec) -> Result<Option<String>, String> {
    let uri = format!("http://{}{}", spec.host, spec.path);
    let http = |builder: request::Builder| builder.uri(&uri).body(Full::default());
    let request = match &spec.call {
        Call::Get => http(Request::builder()).map_err(Into::into),
        Call::Post => http(Request::builder().method(Method::POST)).map_err(Into::into),
        Call::Grpc(message) => grpc_request(&spec.host, &spec.path, message),
    };
    let request = request.map_err(|error| error.to_string())?;
    let response = pool.request(request).await.map_err(|error| crate::chain(&error))?;
    let answer = read(response).await.map_err(|error| crate::chain(error.as_ref()))?;
    if !answer.status.is_success() {
        return Err(format!("HTTP {}", answer.status.as_u16()));
    }
    match answer.grpc_status() {
        Some((0, _)) => Ok(None),
        Some((code, message)) => Err(format!("gRPC {code} {message}")),
        None if matches!(spec.call, Call::Grpc(_)) => Err("no grpc-status".to_owned()),
        None => Ok(instance(&answer)),
    }
}

fn instance(answer: &Answer) -> Option<String> {
    Some(answer.json().ok()?.get("instance")?.as_str()?.to_owned())
}

fn pool(spec: &LoadSpec) -> Pool {
    let (client, address) = (spec.client.clone(), spec.address);
    let connector = tower::service_fn(move |_: Uri| {
        let client = client.clone();
        async move { client.connect(address).await.map(TokioIo::new) }
    });
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(matches!(spec.call, Call::Grpc(_)))
        .retry_canceled_requests(false)
        .build(BoxCloneSyncService::new(connector))
}
