//! A host with its exporters, scraped through the agent's program.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::Router;
use axum::extract::Path as Segment;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lab::process::{Process, Program};
use lab::{ports, wait};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::{EXPORTERS, LARGE, SERIES, body, peers};
use crate::contender::ours;
use crate::figures::{Figure, percentile, sorted};
use crate::usage::{cpu_seconds, resident_kb};

/// Longer than scrapes are shared.
const PAUSE: Duration = Duration::from_millis(1050);
/// What the slow exporter takes to answer.
const SLOW: Duration = Duration::from_millis(500);
const READY: Duration = Duration::from_secs(20);
const OPEN: &str = "application/openmetrics-text;version=1.0.0";

pub(super) type Http = Client<HttpConnector, Empty<Bytes>>;

/// All exporters in this process, so that their work is not the measured ones'; ends with its value.
pub(super) struct Exporters {
    pub(super) address: SocketAddr,
    _server: JoinSet<()>,
}

impl Exporters {
    async fn start() -> anyhow::Result<Self> {
        let small: Vec<Bytes> = (0..EXPORTERS).map(|seed| body(SERIES, seed).into()).collect();
        let large: Bytes = body(LARGE, 1).into();
        let answer = move |Segment(name): Segment<String>| {
            let found = match name.as_str() {
                "large" => Some(large.clone()),
                "slow" => small.first().cloned(),
                nth => nth.parse::<usize>().ok().and_then(|nth| small.get(nth).cloned()),
            };
            async move {
                if name == "slow" {
                    tokio::time::sleep(SLOW).await;
                }
                match found {
                    Some(body) => {
                        ([("content-type", "text/plain; version=0.0.4")], body).into_response()
                    }
                    None => StatusCode::NOT_FOUND.into_response(),
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let pages = Router::new().route("/{name}", get(answer));
        let mut server = JoinSet::new();
        server.spawn(async move {
            // It ends with the run.
            axum::serve(listener, pages).await.ok();
        });
        Ok(Self { address, _server: server })
    }

    pub(super) fn url(&self, name: impl std::fmt::Display) -> String {
        format!("http://{}/{name}", self.address)
    }
}

/// What a round of scrapes took.
pub(super) struct Cost {
    /// Median of the rounds, in milliseconds.
    pub(super) wall_ms: f64,
    /// CPU of the measured process for a round, in milliseconds.
    pub(super) cpu_ms: f64,
    /// Its resident memory afterwards, in MB.
    pub(super) resident_mb: f64,
}

/// A round, `rounds` times, after one that does not count.
pub(super) async fn cost(
    process: i32,
    rounds: u32,
    mut round: impl AsyncFnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Cost> {
    round().await?;
    let mut walls = Vec::new();
    tokio::time::sleep(PAUSE).await;
    let before = cpu_seconds(process)?;
    for _ in 0..rounds {
        let begun = Instant::now();
        round().await?;
        walls.push(begun.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    let spent = cpu_seconds(process)? - before;
    Ok(Cost {
        wall_ms: percentile(&sorted(walls), 0.5),
        cpu_ms: spent * 1e3 / f64::from(rounds),
        resident_mb: resident_kb(process)? / 1024.0,
    })
}

/// One request; the bytes of its answer.
pub(super) async fn ask(
    http: &Http,
    url: &str,
    accept: &str,
    packing: &str,
) -> anyhow::Result<Bytes> {
    let request = http::Request::get(url)
        .header("accept", accept)
        .header("accept-encoding", packing)
        .header("x-prometheus-scrape-timeout-seconds", "10")
        .body(Empty::new())?;
    let answer = http.request(request).await.with_context(|| format!("no answer from {url}"))?;
    ensure!(answer.status() == 200, "{url}: {}", answer.status());
    Ok(answer.into_body().collect().await?.to_bytes())
}

/// The agent's program over these targets.
pub(super) struct Agent {
    process: Process,
    url: String,
}

impl Agent {
    pub(super) async fn start(name: &str, urls: &[String], folder: &Path) -> anyhow::Result<Self> {
        let listen = ports::reserve()?;
        let admin = ports::reserve()?;
        let mut text = format!(
            "[instances]\nconsul = false\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n[relay]\n\
             listen = \"127.0.0.1:{listen}\"\n"
        );
        for (nth, url) in urls.iter().enumerate() {
            text += &format!(
                "[[relay.static]]\njob = \"orders\"\nurl = \"{url}\"\ninstance = \"10.0.0.5:{nth}\"\n\
                 labels = {{mesh_system = \"trading\", service = \"orders\", alloc = \
                 \"6f1c5c1e-0000-4000-8000-{nth:012}\", node = \"host-17\"}}\n"
            );
        }
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, text)?;
        let program = Program::new(name, &ours("host-agent")?).args([
            "run".to_owned(),
            "--config".to_owned(),
            file.display().to_string(),
        ]);
        let process = Process::start(&program, folder)?;
        wait::until("the relay listens", READY, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", listen)).await.map(drop)
        })
        .await?;
        Ok(Self { process, url: format!("http://127.0.0.1:{listen}/metrics") })
    }

    pub(super) fn host(&self) -> &str {
        self.url.trim_start_matches("http://").trim_end_matches("/metrics")
    }

    async fn cost(&self, rounds: u32, series: usize, packing: &str) -> anyhow::Result<Cost> {
        let http: Http = Client::builder(TokioExecutor::new()).build_http();
        cost(self.process.id(), rounds, async || {
            let answer = ask(&http, &self.url, OPEN, packing).await?;
            let lines = memchr::memchr_iter(b'\n', &answer).count();
            ensure!(packing == "gzip" || lines > series, "{lines} lines");
            Ok(())
        })
        .await
    }
}

pub(super) async fn measure(rounds: u32) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let exporters = Exporters::start().await?;
    let fifty: Vec<String> = (0..EXPORTERS).map(|nth| exporters.url(nth)).collect();
    let mut figures = Vec::new();

    let agent = Agent::start("fifty", &fifty, folder.path()).await?;
    let plain = agent.cost(rounds, EXPORTERS * SERIES, "identity").await?;
    let gzip = agent.cost(rounds, EXPORTERS * SERIES, "gzip").await?;
    let mut of_fifty = three("50 × 2,000 series", &plain, "one request in OpenMetrics, not packed");
    of_fifty.extend(three(
        "50 × 2,000 series, gzip",
        &gzip,
        "the same, packed as Prometheus asks for",
    ));
    peers::beside(&mut of_fifty, &exporters, &agent, rounds, folder.path()).await?;
    figures.extend(of_fifty);
    drop(agent);

    let agent = Agent::start("large", &[exporters.url("large")], folder.path()).await?;
    let plain = agent.cost(rounds, LARGE, "identity").await?;
    figures.extend(three("1 × 100,000 series", &plain, "one request in OpenMetrics, not packed"));
    drop(agent);

    let mut slow = fifty;
    slow.push(exporters.url("slow"));
    let agent = Agent::start("slow", &slow, folder.path()).await?;
    let with_slow = agent.cost(rounds, EXPORTERS * SERIES, "identity").await?;
    let beyond = with_slow.wall_ms - SLOW.as_secs_f64() * 1e3;
    let how = "median wall clock of a scrape of 51 exporters, one of which takes 500 ms, less these 500 ms";
    figures.push(Figure::new("wall beyond the slowest target", "ms", beyond, how).goal(150.0));
    Ok(figures)
}

fn three(what: &str, cost: &Cost, how: &str) -> Vec<Figure> {
    vec![
        Figure::new(format!("{what}: wall"), "ms", cost.wall_ms, how),
        Figure::new(format!("{what}: CPU"), "ms", cost.cpu_ms, how),
        Figure::new(format!("{what}: resident"), "MB", cost.resident_mb, how),
    ]
}
