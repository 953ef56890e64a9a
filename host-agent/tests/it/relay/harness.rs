//! A relay in this process, exporters that say what a test wants, a real Prometheus.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use host_agent::instances::Instances;
use host_agent::relay;
use host_agent::relay::config::{RawRelay, RawTarget};
use lab::process::{Process, Program};
use prometheus_client::registry::Registry;
use service::config::Problems;
use service::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
pub(super) const PROTOBUF: &str = "application/vnd.google.protobuf; \
    proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// A running relay; ends with its value.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    registry: Registry,
    _instances: watch::Sender<Arc<Instances>>,
    _tasks: JoinSet<()>,
}

impl Relay {
    /// One over the targets, `(job, URL)`; `change` may set anything else.
    pub(super) async fn start(
        targets: &[(&str, String)],
        change: impl FnOnce(&mut RawRelay),
    ) -> Self {
        Self::with_instances(targets, Instances::default(), change).await
    }

    pub(super) async fn with_instances(
        targets: &[(&str, String)],
        instances: Instances,
        change: impl FnOnce(&mut RawRelay),
    ) -> Self {
        let target = |(job, url): &(&str, String)| RawTarget {
            job: (*job).to_owned(),
            url: url.clone(),
            ..RawTarget::default()
        };
        let mut raw = RawRelay {
            listen: Some(([127, 0, 0, 1], 0).into()),
            written: targets.iter().map(target).collect(),
            ..RawRelay::default()
        };
        change(&mut raw);
        let mut problems = Problems::default();
        let config = raw.resolve(&mut problems);
        let config = problems.finish(None, config).unwrap();
        let (instances, known) = watch::channel(Arc::new(instances));
        let mut tasks = Tasks::new(CancellationToken::new());
        // The agent's own page is one more target, whose port nobody has here.
        let admin = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut registry = Registry::default();
        let address = relay::start(config, known, admin, &mut registry, &mut tasks).await.unwrap();
        let mut running = JoinSet::new();
        running.spawn(async move { tasks.run(Duration::ZERO).await.unwrap() });
        Self { address, registry, _instances: instances, _tasks: running }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the agent says of itself on its admin port.
    pub(super) fn own(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    /// The answer's status, content type and body.
    pub(super) async fn get(&self, path: &str, accept: &str) -> (u16, String, Vec<u8>) {
        let request = client().get(self.url(path)).header("accept", accept);
        let answer = request.send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status().as_u16(), kind, answer.bytes().await.unwrap().to_vec())
    }

    /// `/metrics` as text.
    pub(super) async fn text(&self) -> String {
        let (status, _, body) = self.get("/metrics", TEXT).await;
        assert_eq!(status, 200);
        String::from_utf8(body).unwrap()
    }
}

pub(super) fn client() -> reqwest::Client {
    consul::testing::install_crypto_provider();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// The value of the first line that begins with `series`; its labels may go on.
pub(super) fn value_of(text: &str, series: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(series))?;
    Some(line.rsplit_once(' ')?.1.to_owned())
}

/// An exporter that answers as a test wants; ends with its value.
pub(super) struct Exporter {
    pub(super) address: SocketAddr,
    asked: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Exporter {
    /// One that answers every request by `answer`.
    pub(super) async fn start(
        answer: impl Fn(&Uri, &HeaderMap) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let pages = Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
            counter.fetch_add(1, Ordering::SeqCst);
            let response = answer(&uri, &headers);
            async move { response }
        });
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, pages).await.unwrap() });
        Self { address, asked, _server: server }
    }

    /// One that always says the same.
    pub(super) async fn saying(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body: Vec<u8> = body.into();
        Self::start(move |_, _| said(content_type, body.clone())).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// An answer with a content type.
pub(super) fn said(content_type: &str, body: impl Into<Body>) -> Response {
    Response::builder().header("content-type", content_type).body(body.into()).unwrap()
}

/// A program of Debian's packages for Prometheus; `None` after a skip.
pub(super) fn debian(test: &str, program: &str) -> Option<std::path::PathBuf> {
    let prometheus = lab::parts::real_part_or_skip(test, "prometheus")?;
    let path = prometheus.parent().unwrap().join(program);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    Some(path)
}

/// A real Prometheus; ends with its value.
pub(super) struct Prometheus {
    url: String,
    _process: Process,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// One with this `scrape_configs`; `None` after a skip.
    pub(super) async fn start(test: &str, scrape_configs: &str, flags: &[&str]) -> Option<Self> {
        let binary = debian(test, "prometheus")?;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        let head = "global: {scrape_interval: 2s, scrape_timeout: 2s}\nscrape_configs:\n";
        std::fs::write(&file, format!("{head}{scrape_configs}")).unwrap();
        let port = lab::ports::reserve().unwrap();
        let program = Program::new("prometheus", &binary)
            .args([
                format!("--config.file={}", file.display()),
                format!("--storage.tsdb.path={}", folder.path().join("data").display()),
                format!("--web.listen-address=127.0.0.1:{port}"),
            ])
            .args(flags.iter().copied());
        let mut process = Process::start(&program, folder.path()).unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let ready = format!("{url}/-/ready");
        let awaited = process.until("Prometheus is ready", Duration::from_secs(30), async || {
            let answer = client().get(&ready).send().await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        });
        awaited.await.unwrap();
        Some(Self { url, _process: process, _folder: folder })
    }

    /// The value of each series of a query: labels and number.
    pub(super) async fn query(&self, query: &str) -> Vec<(serde_json::Value, String)> {
        let url = format!("{}/api/v1/query", self.url);
        let answer = client().get(url).query(&[("query", query)]).send().await.unwrap();
        let answer: serde_json::Value = answer.json().await.unwrap();
        let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let of = |one: serde_json::Value| {
            let value = one["value"][1].as_str().unwrap_or_default().to_owned();
            (one["metric"].clone(), value)
        };
        series.into_iter().map(of).collect()
    }

    /// The same when it has `count` series, within 30 seconds.
    pub(super) async fn query_until(
        &self,
        query: &str,
        count: usize,
    ) -> Vec<(serde_json::Value, String)> {
        let awaited = lab::wait::until(query, Duration::from_secs(30), async || {
            let series = self.query(query).await;
            if series.len() == count { Ok(series) } else { Err(format!("{series:?}")) }
        });
        awaited.await.unwrap()
    }

    /// Any page of its API.
    pub(super) async fn api(&self, path: &str) -> serde_json::Value {
        client().get(format!("{}{path}", self.url)).send().await.unwrap().json().await.unwrap()
    }
}

/// A file of this repository.
pub(super) fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
