//! An agent as a process, and spans to send to it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::collector::Collector;
use lab::process::{Process, Program};
use lab::{ports, wait};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use reqwest::Response;
use tempfile::TempDir;

pub(super) const SOON: Duration = Duration::from_secs(20);

/// A running agent.
pub(super) struct Agent {
    pub folder: TempDir,
    pub listen: u16,
    pub admin: u16,
    pub http: reqwest::Client,
    process: Process,
    starts: u32,
}

impl Agent {
    /// With a back end, and `more` in its configuration: keys of `[traces]`, then other tables.
    pub(super) async fn start(back_end: &str, more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let (listen, admin) = (ports::reserve().unwrap(), ports::reserve().unwrap());
        let address = SocketAddr::from(([127, 0, 0, 1], listen));
        configure(folder.path(), address, admin, back_end, more);
        let process = spawn(folder.path(), 0);
        let mut agent = Self { folder, listen, admin, http: http(), process, starts: 0 };
        agent.ready().await;
        agent
    }

    pub(super) async fn with(collector: &Collector) -> Self {
        Self::start(&format!("grpc://{}", collector.address()), "").await
    }

    async fn ready(&mut self) {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        let http = self.http.clone();
        self.process
            .until("the agent is ready", SOON, async || {
                http.get(&url).send().await.and_then(Response::error_for_status).map(drop)
            })
            .await
            .unwrap();
    }

    pub(super) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    pub(super) async fn stop(&mut self) {
        let status = self.process.stop(SOON).await.unwrap();
        assert!(status.success(), "{status}\n{}", self.process.tail());
    }

    pub(super) async fn restart(&mut self) {
        self.starts += 1;
        self.process = spawn(self.folder.path(), self.starts);
        self.ready().await;
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listen)
    }

    /// Sends spans as OTLP in Protocol Buffers, as the sidecar of an instance would.
    pub(super) async fn send(&self, instance: &str, ids: &[u64]) -> reqwest::Result<Response> {
        self.send_request(instance, &request(ids, "work")).await
    }

    /// The same with any request.
    pub(super) async fn send_request(
        &self,
        instance: &str,
        request: &ExportTraceServiceRequest,
    ) -> reqwest::Result<Response> {
        self.http
            .post(self.url("/v1/traces"))
            .header("content-type", "application/x-protobuf")
            .header("x-mesh-instance", instance)
            .body(request.encode_to_vec())
            .send()
            .await
    }

    /// The values of a metric, by its labels as they are written.
    pub(super) async fn metric(&self, name: &str) -> BTreeMap<String, f64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.admin);
        let text = self.http.get(url).send().await.unwrap().text().await.unwrap();
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
        lines.map(|(labels, value)| (labels.to_owned(), value.parse().unwrap())).collect()
    }
}

/// Writes the configuration: two instances, one back end.
pub(super) fn configure(folder: &Path, listen: SocketAddr, admin: u16, back_end: &str, more: &str) {
    let queue = if more.contains("[traces.queue]") { "" } else { "[traces.queue]\n" };
    let config = format!(
        r#"
[admin]
listen = "127.0.0.1:{admin}"
[instances]
consul = false
node = "host-a"
datacenter = "dc1"
[[instances.static]]
id = "orders-1"
service = "orders"
address = "10.9.9.1"
meta = {{ mesh_system = "trading", mesh_instance = "alloc-orders" }}
[[instances.static]]
id = "quotes-1"
service = "quotes"
address = "10.9.9.2"
meta = {{ mesh_system = "trading", mesh_instance = "alloc-quotes" }}
[traces]
listen = ["{listen}"]
{more}
{queue}folder = "{}/queue"
[[traces.back_ends]]
name = "store"
url = "{back_end}"
batch_ms = 50
max_pause_ms = 500
"#,
        folder.display()
    );
    std::fs::write(folder.join("agent.toml"), config).unwrap();
}

/// A client, in a process that has a TLS provider.
pub(super) fn http() -> reqwest::Client {
    builder().build().unwrap()
}

pub(super) fn builder() -> reqwest::ClientBuilder {
    static PROVIDER: Once = Once::new();
    // It fails only where another test of this binary has installed one, which is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder()
}

fn spawn(folder: &Path, start: u32) -> Process {
    Process::start(&program(folder, start), folder).unwrap()
}

/// The agent with the configuration in this folder.
pub(super) fn program(folder: &Path, start: u32) -> Program {
    Program::new(format!("agent-{start}"), Path::new(env!("CARGO_BIN_EXE_host-agent"))).args([
        "run",
        "--config",
        &folder.join("agent.toml").display().to_string(),
    ])
}

#[expect(clippy::disallowed_methods, reason = "spans carry the real time")]
pub(super) fn now_ns() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// A request with a span for each id.
pub(super) fn request(ids: &[u64], name: &str) -> ExportTraceServiceRequest {
    let now = now_ns();
    let span = |id: &u64| Span {
        trace_id: u128::from(*id).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: name.to_owned(),
        start_time_unix_nano: now - 1_000_000,
        end_time_unix_nano: now,
        ..Span::default()
    };
    let spans = ids.iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

/// Waits until the back end has every one of these ids.
pub(super) async fn arrived(collector: &Collector, ids: impl IntoIterator<Item = u64>) {
    let wanted: Vec<u64> = ids.into_iter().collect();
    wait::until("every acknowledged span is in the back end", SOON * 2, async || {
        let times = collector.times();
        let missing: Vec<_> = wanted.iter().filter(|id| !times.contains_key(id)).collect();
        match missing.as_slice() {
            [] => Ok(()),
            some => Err(format!("{} of {} are missing", some.len(), wanted.len())),
        }
    })
    .await
    .unwrap();
}
