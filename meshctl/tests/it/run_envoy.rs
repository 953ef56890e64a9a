//! `meshctl run-envoy` and `wait-envoy` with real Envoys: what a stop loses, and what the exit codes say.
//!
//! Two origins, each an Envoy that answers after a delay, stand behind a load balancer that asks for their `/ready`.
//! Nothing is retried: what a stop cuts is a lost request.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::balancer::{Balancer, Behind};
use lab::http::Client;
use lab::load::{Call, Load, LoadReport, LoadSpec};
use lab::parts::real_part_or_skip;
use lab::ports::reserve;
use lab::process::{Process, Program};
use lab::wait;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::meshctl;

const SOON: Duration = Duration::from_secs(20);

/// How an origin's Envoy is started.
#[derive(Clone, Copy, PartialEq)]
enum Start {
    /// With `run-envoy` and these flags.
    Wrapped(&'static [&'static str]),
    /// As it is.
    Bare,
}

struct Origin {
    process: Process,
    port: u16,
    stats: u16,
    admin: u16,
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_meshctl"))
}

fn connection_manager(name: &str, filters: &Value, routes: &Value) -> Value {
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "http_filters": filters,
            "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
        },
    })
}

fn listener(name: &str, port: u16, manager: &Value) -> Value {
    json!({
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [manager]}],
    })
}

fn router_filter() -> Value {
    json!({
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    })
}

/// Answers with its name after a delay; no control plane is awaited for long, because none is there.
fn origin_config(name: &str, port: u16, delay: Duration) -> Value {
    let delay = json!({
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "delay": {
                "fixed_delay": format!("{}s", delay.as_secs_f64()),
                "percentage": {"numerator": 100},
            },
        },
    });
    let body = json!({"instance": name}).to_string();
    let routes = json!([{
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": body}},
    }]);
    let manager = connection_manager("inbound", &json!([delay, router_filter()]), &routes);
    let brief = json!({"initial_fetch_timeout": "1s"});
    json!({
        "dynamic_resources": {"cds_config": brief, "lds_config": brief},
        "static_resources": {"listeners": [listener("inbound", port, &manager)]},
    })
}

impl Origin {
    async fn start(envoy: &Path, dir: &Path, name: &str, delay: Duration, start: Start) -> Self {
        let [port, stats, admin, inbound, app, xds] = [0; 6].map(|_| reserve().unwrap());
        let merged = origin_config(name, port, delay).to_string();
        let file = dir.join(format!("{name}.yaml")).display().to_string();
        let own = [
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            "--config-yaml",
            &merged,
        ];
        let flags = [
            "--role=sidecar".to_owned(),
            "--system=trading".to_owned(),
            format!("--id={name}"),
            format!("--service=orders={inbound}:{app}"),
            "--bind=127.0.0.1".to_owned(),
            format!("--stats={stats}"),
            format!("--admin={admin}"),
            format!("--xds=127.0.0.1:{xds}"),
        ];
        let program = match start {
            Start::Wrapped(drain) => Program::new(name, binary())
                .args(["run-envoy", "--bootstrap-file", &file])
                .args(flags)
                .args(drain.iter().copied())
                .args(["--", &envoy.display().to_string()])
                .args(own),
            Start::Bare => {
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                let rendered = meshctl(&[&["bootstrap"], flags.as_slice()].concat()).await.out;
                std::fs::write(&file, rendered).unwrap();
                Program::new(name, envoy).args(own).args(["-c", &file])
            }
        };
        let process = Process::start(&program, dir).unwrap();
        let mut origin = Self { process, port, stats, admin };
        let what = format!("{name} is ready");
        let probe = async || match Client::new().get(at(stats), name, "/ready").await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(answer.text()),
            Err(error) => Err(lab::chain(&error)),
        };
        origin.process.until(&what, SOON, probe).await.unwrap();
        origin
    }

    /// Requests under way, as Envoy counts them.
    async fn active(&self) -> u64 {
        let path = "/stats?filter=http.inbound.downstream_rq_active";
        let text = Client::new().get(at(self.admin), "admin", path).await.unwrap().text();
        text.trim().rsplit(": ").next().unwrap().parse().unwrap()
    }
}

/// Stops one of two origins under a load of POST requests; the load's report, and what the stopped one said.
async fn stop_under_load(envoy: PathBuf, start: Start) -> (LoadReport, Option<i32>, String) {
    let dir = TempDir::new().unwrap();
    let delay = Duration::from_millis(100);
    let mut origins = Vec::new();
    for name in ["a", "b"] {
        origins.push(Origin::start(&envoy, dir.path(), name, delay, start).await);
    }
    let behind: Vec<Behind> =
        origins.iter().map(|origin| Behind { port: origin.port, ready: origin.stats }).collect();
    let balancer = Balancer::start(&envoy, "balancer", dir.path(), &behind).await.unwrap();
    let mut load = Load::start(LoadSpec {
        client: Client::new(),
        address: balancer.address(),
        host: "balancer".to_owned(),
        path: "/".to_owned(),
        call: Call::Post,
        rate: 200,
        timeout: Duration::from_secs(10),
    });
    load.until_more_sent(400).await;
    let status = origins[0].process.stop(SOON).await.unwrap();
    load.until_more_sent(200).await;
    (load.finish().await.unwrap(), status.code(), origins[0].process.tail())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_no_request() {
    let Some(envoy) = real_part_or_skip("a_stop_under_load", "envoy") else { return };
    let flags = &["--linger=1s", "--quiet=500ms", "--drain=15s"];
    let (report, code, said) = Box::pin(stop_under_load(envoy, Start::Wrapped(flags))).await;
    println!("{report}\n{said}");
    assert_eq!((report.lost(), code), (0, Some(0)), "{report}\n{said}");
    assert!(report.by_instance["a"] > 150, "{:?}", report.by_instance);
    assert!(said.contains("nothing was cut"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_stop_of_a_bare_envoy_loses_requests() {
    let Some(envoy) = real_part_or_skip("a_bare_stop_under_load", "envoy") else { return };
    let (report, ..) = Box::pin(stop_under_load(envoy, Start::Bare)).await;
    println!("{report}");
    assert!(report.lost() > 0, "{report}");
}

/// An origin with one request under way that takes 30 s.
async fn busy(
    envoy: &Path,
    dir: &Path,
    flags: &'static [&'static str],
    callers: &mut JoinSet<()>,
) -> Origin {
    let delay = Duration::from_secs(30);
    let origin = Origin::start(envoy, dir, "slow", delay, Start::Wrapped(flags)).await;
    let port = origin.port;
    // It gets no answer: that is what the test is about.
    callers.spawn(async move { drop(Client::new().get(at(port), "slow", "/").await) });
    wait::until("the request is under way", SOON, async || match origin.active().await {
        1 => Ok(()),
        other => Err(other.to_string()),
    })
    .await
    .unwrap();
    origin
}

#[tokio::test]
async fn what_is_still_under_way_when_the_time_is_over_is_cut_and_counted() {
    let Some(envoy) = real_part_or_skip("what_is_still_under_way", "envoy") else { return };
    let dir = TempDir::new().unwrap();
    let mut callers = JoinSet::new();
    let mut slow = Box::pin(busy(&envoy, dir.path(), &["--drain=1s"], &mut callers)).await;
    let status = slow.process.stop(SOON).await.unwrap();
    assert_eq!(status.code(), Some(1));
    let said = slow.process.tail();
    assert!(said.contains("with 1 requests or connections under way"), "{said}");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let Some(envoy) = real_part_or_skip("a_second_signal", "envoy") else { return };
    let dir = TempDir::new().unwrap();
    let mut callers = JoinSet::new();
    let mut slow = Box::pin(busy(&envoy, dir.path(), &["--drain=60s"], &mut callers)).await;
    slow.process.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    let stats = slow.stats;
    wait::until("it says that it is not ready", SOON, async || {
        let answer = Client::new().get(at(stats), "slow", "/ready").await;
        match answer.map(|answer| answer.status.as_u16()) {
            Ok(503) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
    let status = slow.process.stop(SOON).await.unwrap();
    let said = slow.process.tail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("a second signal came"), "{said}");
}

#[tokio::test]
async fn an_envoy_that_ends_unasked_passes_its_exit_code_on() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("envoy.yaml").display().to_string();
    let flags = ["--role=router", "--id=edge", "--service=router=80", "--xds=127.0.0.1:1"];
    for (script, code, said) in
        [("exit 7", 7, "exit status: 7"), ("kill -9 $$", 137, "signal: 9"), ("exit 0", 0, "")]
    {
        let command = ["run-envoy", "--bootstrap-file", &file];
        let shell = ["--", "/bin/sh", "-c", script, "sh"];
        let outcome = meshctl(&[&command, flags.as_slice(), shell.as_slice()].concat()).await;
        assert_eq!(outcome.exit_code(), code, "{outcome:?}");
        assert!(code == 0 || outcome.failure().contains(said), "{outcome:?}");
    }
    let missing =
        [&["run-envoy", "--bootstrap-file", &file], flags.as_slice(), &["--", "/no/envoy"]];
    let outcome = meshctl(&missing.concat()).await;
    assert!(outcome.failure().starts_with("cannot start /no/envoy"), "{outcome:?}");
    assert_eq!(outcome.exit_code(), 1);
}

#[tokio::test]
async fn waiting_for_an_envoy_says_what_it_lacks() {
    let nobody = reserve().unwrap().to_string();
    let outcome = meshctl(&["wait-envoy", "--admin", &nobody, "--timeout=200ms"]).await;
    assert_eq!(outcome.exit_code(), 3, "{outcome:?}");
    let Some(envoy) = real_part_or_skip("waiting_for_an_envoy", "envoy") else { return };
    let dir = TempDir::new().unwrap();
    let origin =
        Origin::start(&envoy, dir.path(), "alone", Duration::from_millis(1), Start::Wrapped(&[]))
            .await;
    // It says LIVE, because it has given up waiting for a control plane.
    let admin = origin.admin.to_string();
    let outcome = meshctl(&["wait-envoy", "--admin", &admin, "--timeout=200ms"]).await;
    assert_eq!(outcome.exit_code(), 1);
    assert!(outcome.failure().ends_with("no control plane has sent listeners"), "{outcome:?}");
}
