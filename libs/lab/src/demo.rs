//! The story that `make demo` tells: two Systems, a Router, and instances that come and go.
//!
//! | file | holds |
//! |---|---|
//! | [`mesh`] | what is placed, and the Systems' documents |
//! | [`paths`] | a request along each path through the mesh, and what each must answer |
//! | [`moves`] | moves, scaling and a killed control plane under load, and the same without draining |
//! | [`token`] | tokens of the demo's identity provider |
//! | [`trace`] | one request's spans as a tree |
//! | [`metrics`] | one address for the metrics of all |
//! | [`logs`] | where the instances' lines arrive |
//! | [`deploys`] | a service that comes, and changes, as a Nomad job |
//! | [`checks`] | the table at the end |
//!
//! Interactive, it shows what to try and keeps running until Ctrl-C; with [`DemoOptions::once`] it drives itself.
#![expect(clippy::print_stdout, reason = "the demo talks to the person who started it")]

use std::path::PathBuf;

use comfy_table::{Table, presets};
use tokio::signal::unix::{SignalKind, signal};

use crate::collector::Collector;
use crate::folder::Folder;
use crate::parts::Parts;
use crate::placer::Allocation;
use crate::world::{World, WorldOptions};
use crate::{LabError, ports};

pub mod checks;
pub mod deploys;
pub mod logs;
pub mod mesh;
pub mod metrics;
pub mod moves;
pub mod paths;
pub mod token;
pub mod trace;

use checks::Checks;
use deploys::Deploys;

/// How the demo is to run.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Drives itself, checks everything, and ends.
    pub once: bool,
    /// The Router's port on 127.0.0.1.
    pub router_port: u16,
    /// Whether proxies speak state of the world in place of delta.
    pub sotw: bool,
    /// The binaries; `None`: those beside the running executable.
    pub parts: Option<Parts>,
}

/// Runs the demo; `true` when nothing failed.
///
/// # Errors
/// When the mesh cannot be set up; the error names the log files that are kept.
pub async fn run(options: DemoOptions) -> Result<bool, LabError> {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return Err(LabError::Missing {
            what: "a handler for Ctrl-C".to_owned(),
            next: "start the demo from an ordinary shell".to_owned(),
        });
    };
    let change = "choose another with `make demo ROUTER_PORT=N` or `meshctl demo --router-port N`";
    ports::require_free(options.router_port, change)?;
    let dir = Folder::new("demo")?;
    let ended = tokio::select! {
        ended = tell(&options, dir.path().to_owned()) => ended,
        // Whatever was started ends with its owner, which is dropped here.
        _ = interrupt.recv() => Ok(!options.once),
        _ = terminate.recv() => Ok(!options.once),
    };
    if !matches!(ended, Ok(true)) {
        println!("Logs and configurations are kept in {}", dir.keep()?.display());
    }
    ended
}

async fn tell(options: &DemoOptions, dir: PathBuf) -> Result<bool, LabError> {
    let parts = options.parts.clone().map_or_else(Parts::find, Ok)?;
    let spans = Collector::start_at(trace::store(options.router_port)).await?;
    let wanted = WorldOptions {
        spans_to: Some(spans.address()),
        has_agent: true,
        router_port: Some(options.router_port),
        sotw: options.sotw,
        ..WorldOptions::new(parts, &dir)
    };
    let registry = if wanted.consul.is_some() { "Consul" } else { "a file registry" };
    println!("Starting {registry}, two control planes and the Router …");
    if wanted.consul.is_none() {
        println!(
            "(There is no Consul here, `make setup` says why: services are registered in files.)"
        );
    }
    let mut world = World::start(&wanted).await?;
    let services = mesh::services(&wanted.parts)?;
    println!("Placing {} pairs and gateways …", services.len());
    world.place(&services).await?;
    for (system, document) in mesh::DOCUMENTS {
        world.apply(system, document).await?;
    }
    let key = mesh::api_key(&world, &wanted.parts).await?;
    let deploys = Deploys::start(&world, &wanted.parts, &dir).await?;
    println!("{}", instances(&world));
    if options.once {
        let mut checks = Checks::default();
        println!("Asking along every path …");
        paths::check(&world, key.as_deref(), &mut checks).await;
        traced(&world, &spans, &mut checks).await;
        metrics::check(&world, &mut checks).await;
        logs::check(&world, &mut checks).await;
        println!("Moving, scaling and killing under load, about 20 s …");
        moves::check(&mut world, &mut checks).await;
        println!("Deploying a job twice under load, about 30 s …");
        deploys::check(deploys, &world, &mut checks).await;
        world.stop().await?;
        println!("\n{checks}");
        return Ok(checks.failed() == 0);
    }
    let deploys = deploys.map(|deploys| deploys.invitation(options.router_port));
    let deploys = deploys.unwrap_or_default();
    println!(
        "{}",
        invitation(&world, &wanted.parts, key.as_deref(), options.router_port, &deploys)
    );
    std::future::pending().await
}

/// Who sent a span is known from Consul only.
async fn traced(world: &World, spans: &Collector, checks: &mut Checks) {
    let what = "one trace spans two Systems (meshctl demo trace)";
    if world.consul().is_none() {
        return checks.skip(what, "the agent knows no instances without a Consul");
    }
    let seen = trace::follow(world.router_address(), spans.address()).await;
    let seen = seen.map(|tree| tree.lines().next().unwrap_or_default().to_owned());
    checks.record(what, seen.map_err(|error| crate::chain(&error)));
}

fn instances(world: &World) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["system", "service", "instance", "sidecar", "meta"]);
    for allocation in &world.allocations {
        let spec = allocation.spec();
        let meta = spec.meta.iter().map(|(key, value)| format!("{key}={value}"));
        table.add_row([
            spec.system.clone(),
            spec.name.clone(),
            allocation.instance().to_owned(),
            allocation.address().to_string(),
            meta.collect::<Vec<_>>().join(" "),
        ]);
    }
    table
}

fn invitation(world: &World, parts: &Parts, key: Option<&str>, port: u16, deploys: &str) -> String {
    let apis: Vec<String> =
        world.control_planes.iter().map(|one| format!("http://{}", one.api())).collect();
    let apis = apis.join(",");
    let consul = world
        .consul()
        .map_or_else(String::new, |consul| format!("\n  Consul: {}/ui\n", consul.url()));
    let agent = world.host_agent.as_ref().filter(|_| world.consul().is_some());
    let agent = agent.map_or_else(String::new, |agent| {
        let relay = agent.relay();
        format!(
            "  Everything that Prometheus would scrape of this host, and how each scrape went:\n    \
             curl http://{relay}/metrics\n    http://{relay}/targets\n  \
             What the instances write, with their System and service: as it is sent, and where it arrives:\n    \
             {} tail --config {}\n    tail -f {}\n",
            parts.ours.join("host-agent").display(),
            agent.config().display(),
            agent.logs().display(),
        )
    });
    let router = format!("http://127.0.0.1:{port}");
    let meshctl = parts.ours.join("meshctl");
    let meshctl = meshctl.display();
    let key = key.map_or_else(
        || "    (needs a Consul to keep its hash; there is none here)".to_owned(),
        |key| format!("    curl -H 'x-api-key: {key}' {router}/trading/partners/7"),
    );
    let pages = world.instances_of("trading-gateway").find_map(Allocation::app_admin);
    let pages = pages.map_or_else(String::new, |(_, admin)| format!("    http://{admin}/docs/\n"));
    format!(
        "
  Through the Router, its gateway and a sidecar to orders; the same by host:
    curl {router}/trading/orders/7
    curl -H 'Host: trading.example.com' {router}/orders/7
  To positions, which asks quotes in the other System:
    curl {router}/portfolio/positions/7
  orders calls orders through its sidecar; then a name that nobody has:
    curl {router}/trading/call/orders/orders/7
    curl {router}/trading/call/nobody/x
  quotes speaks gRPC; its System's gateway offers it as REST, one answer and a stream:
    curl {router}/trading/v1/quotes/7203
    curl -N {router}/trading/v1/quotes/7203:watch
{pages}  With a token, and with an API key (without them: 401):
    curl -H \"Authorization: Bearer $({meshctl} demo token)\" {router}/trading/customers/7
{key}
  A request's spans, from the Router to the other System's sidecar:
    {meshctl} demo trace --router-port {port}
  A System that lets nobody in yet:
    curl {router}/research/
  What the control planes know:
    {meshctl} get services --api {apis}
    {meshctl} get proxies --api {apis}
    {meshctl} get routes trading --api {apis}
{agent}{deploys}{consul}
  Ctrl-C ends it and leaves nothing behind."
    )
}
