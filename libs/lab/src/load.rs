//! An open-loop load: requests leave on a fixed schedule, whatever happens to those before them.
//!
//! A slow answer therefore costs latency (measured from the scheduled moment) and never hides the requests that a
//! waiting client would not have sent. Nothing is retried here: each failure is counted with its reason.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tower::util::BoxCloneSyncService;

use crate::LabError;
use crate::http::{Client, read};

mod call;
mod report;
mod retries;

pub use call::Call;
pub use report::LoadReport;
pub use retries::Retries;

type Connector = BoxCloneSyncService<Uri, TokioIo<tokio::net::TcpStream>, std::io::Error>;
type Pool = legacy::Client<Connector, Full<Bytes>>;

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
    let begin = Instant::now();
    let mut schedule = tokio::time::interval(Duration::from_secs(1) / spec.rate.max(1));
    schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            due = schedule.tick() => {
                under_way.spawn(one(pool.clone(), spec.clone(), due));
                sent.send_modify(|sent| *sent += 1);
            }
            Some(done) = under_way.join_next() => add(&mut report, begin, done),
        }
    }
    while let Some(done) = under_way.join_next().await {
        add(&mut report, begin, done);
    }
    report.sort();
    report
}

/// When it was due, how long it took, what came of it.
type Done = (Instant, Duration, Result<Option<String>, String>);

fn add(report: &mut LoadReport, begin: Instant, done: Result<Done, tokio::task::JoinError>) {
    match done {
        Ok((due, latency, outcome)) => report.add(due.duration_since(begin), latency, outcome),
        Err(error) => report.add(begin.elapsed(), Duration::ZERO, Err(error.to_string())),
    }
}

async fn one(pool: Pool, spec: LoadSpec, due: Instant) -> Done {
    let outcome = tokio::time::timeout(spec.timeout, exchange(&pool, &spec))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {:?}", spec.timeout)));
    (due, due.elapsed(), outcome)
}

async fn exchange(pool: &Pool, spec: &LoadSpec) -> Result<Option<String>, String> {
    let request = spec.call.request(&spec.host, &spec.path);
    let request = request.map_err(|error| crate::chain(error.as_ref()))?;
    let response = pool.request(request).await.map_err(|error| crate::chain(&error))?;
    let answer = read(response).await.map_err(|error| crate::chain(error.as_ref()))?;
    spec.call.judge(&answer)
}

fn pool(spec: &LoadSpec) -> Pool {
    let (client, address) = (spec.client.clone(), spec.address);
    let connector = tower::service_fn(move |_: Uri| {
        let client = client.clone();
        async move { client.connect(address).await.map(TokioIo::new) }
    });
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(spec.call.is_http2())
        .retry_canceled_requests(false)
        .build(BoxCloneSyncService::new(connector))
}
