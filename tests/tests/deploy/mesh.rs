//! The mesh of these tests: Consul, two control planes, proxies that hear everything late, a Router, and Nomad, which
//! places whatever else runs.
//!
//! In: a test's name. Out: a [`Mesh`] with System `trading` (a gateway, `orders`, `quotes`) and System `portfolio` (a gateway,
//! `positions`, which asks `quotes`). **Invariant**: nothing here acts in Nomad's place: instances come and go by jobs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use lab::balancer::Behind;
use lab::consul::{Consul, ConsulOptions};
use lab::control_plane::{ControlPlane, Source};
use lab::fault_proxy::{Fault, FaultProxy};
use lab::folder::Folder;
use lab::http::Client;
use lab::parts::{self, Parts};
use lab::ports::reserve;
use lab::process::{self, Process, Program};
use lab::wait;

/// Within which a change must be everywhere on one machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// By how much all news for proxies is late, so that a stop that does not wait for them is seen to lose.
pub(crate) const LATE: Duration = Duration::from_millis(300);
/// How a Router that is upgraded goes: as jobs/router.nomad.hcl says it, with a load balancer that looks ten times a second.
pub(crate) const DRAINED: [&str; 3] = ["--linger=1s", "--quiet=500ms", "--drain=15s"];

const DOCUMENTS: [(&str, &str); 2] = [
    (
        "trading",
        "\
kind: System
name: trading
hosts: [trading.example.com]
callers: [portfolio]
default_auth: none
tracks: {canary: {percent: 50}}
routes:
- {match: {prefix: /orders}, to: orders}
- {match: {prefix: /slow}, to: orders}
- {match: {prefix: /stream}, to: orders}
",
    ),
    ("portfolio", "kind: System\nname: portfolio\ncallers: []\ndefault_auth: none\n"),
];

/// The mesh, and the folder that it writes to.
pub(crate) struct Mesh {
    router: Router,
    pub(crate) planes: Vec<ControlPlane>,
    pub(crate) consul: Consul,
    pub(crate) parts: Parts,
    news: Vec<FaultProxy>,
    // After the processes: they write until they are gone.
    dir: Folder,
}

/// A Router under `run-envoy`, as jobs/router.nomad.hcl runs it.
pub(crate) struct Router {
    pub(crate) process: Process,
    pub(crate) at: Behind,
}

impl Mesh {
    /// Starts it, without instances; `None`: a part is missing, and it is said.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        let binary = parts::real_part_or_skip(test, "consul")?;
        let ours = ["control-plane", "meshctl", "orders", "positions", "quotes"];
        let parts = parts::parts_or_skip(test, &ours)?;
        let dir = Folder::new("deploy").unwrap();
        let durable = ConsulOptions { durable: true, ..ConsulOptions::default() };
        let consul = Consul::start(&binary, dir.path(), &durable).await.unwrap();
        let source = Source::Consul(consul.url(), None);
        let program = parts.our("control-plane").unwrap();
        let mut planes = Vec::new();
        let mut news = Vec::new();
        for name in ["control-plane-1", "control-plane-2"] {
            let mut plane =
                ControlPlane::start(&program, name, dir.path(), &source, None, None).unwrap();
            plane.wait_ready().await.unwrap();
            let late = FaultProxy::start(plane.xds()).await.unwrap();
            late.set(Fault::Delay(LATE));
            planes.push(plane);
            news.push(late);
        }
        let router = Router::start(&parts, dir.path(), "router", None, &news, &DRAINED).await;
        let mesh = Self { router, planes, consul, parts, news, dir };
        for (system, document) in DOCUMENTS {
            mesh.apply(system, document).await;
        }
        Some(mesh)
    }

    /// Where the Router answers.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.router.at.port))
    }

    /// Where the Router tells its statistics.
    pub(crate) fn statistics(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.router.at.ready))
    }

    /// One more Router, on these ports or on ports of the kernel's choice.
    pub(crate) async fn router(&self, name: &str, at: Option<Behind>, flags: &[&str]) -> Router {
        Router::start(&self.parts, self.dir.path(), name, at, &self.news, flags).await
    }

    /// The folder of logs and configurations.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where proxies find control planes, as jobs write it.
    pub(crate) fn xds(&self) -> Vec<String> {
        self.news.iter().map(|late| late.address().to_string()).collect()
    }

    /// Waits until every path that the load takes answers.
    pub(crate) async fn answers(&self) {
        let client = Client::new();
        for (host, path) in
            [("localhost", "/trading/orders/7"), ("localhost", "/portfolio/positions/7")]
        {
            let what = format!("{path} answers");
            wait::until(&what, SOON, async || {
                let answer = client.get(self.address(), host, path).await;
                let answer = answer.map_err(|error| lab::chain(&error))?;
                if answer.status.is_success() { Ok(()) } else { Err(answer.text()) }
            })
            .await
            .unwrap();
        }
    }

    async fn apply(&self, system: &str, document: &str) {
        let file = self.dir().join(format!("{system}.yaml"));
        std::fs::write(&file, document).unwrap();
        let apply = Program::new("meshctl apply", &self.parts.our("meshctl").unwrap())
            .args(["apply", "--yes", "--allow-unknown", "--consul", &self.consul.url(), "-f"])
            .args([file.display().to_string()]);
        process::run(&apply).await.unwrap();
    }
}

impl Router {
    async fn start(
        parts: &Parts,
        dir: &Path,
        name: &str,
        at: Option<Behind>,
        news: &[FaultProxy],
        flags: &[&str],
    ) -> Self {
        let meshctl = parts.our("meshctl").unwrap();
        let at =
            at.unwrap_or_else(|| Behind { port: reserve().unwrap(), ready: reserve().unwrap() });
        let admin = reserve().unwrap();
        let planes: Vec<String> = news.iter().map(|late| late.address().to_string()).collect();
        let program = Program::new(name, &meshctl)
            .args(["run-envoy", "--role=router", "--bind=127.0.0.1", "--id", name])
            .args([format!("--bootstrap-file={}", dir.join(format!("{name}.yaml")).display())])
            .args([format!("--service=router={}", at.port), format!("--stats={}", at.ready)])
            .args([format!("--admin={admin}"), format!("--xds={}", planes.join(","))])
            .args(flags.iter().copied())
            .args(["--".to_owned(), parts.envoy.display().to_string()])
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"]);
        let process = Process::start(&program, dir).unwrap();
        let wait = Program::new("wait-envoy", &meshctl).args([
            "wait-envoy".to_owned(),
            format!("--admin={admin}"),
            "--timeout=30s".to_owned(),
        ]);
        process::run(&wait).await.unwrap();
        Self { process, at }
    }
}
