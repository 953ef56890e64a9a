//! The wiring: owns every task, the clocks, readiness and the order of stopping.
//!
//! ```text
//! Consul ─▶ instances ──watch──▶ logs: a pipeline for each destination; relay; traces
//! SIGHUP ─▶ reload ─────watch──▶ logs
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use consul::ConsulClient;
use prometheus_client::registry::Registry;
use service::ErrorChain;
use service::admin::{Admin, Readiness};
use service::shutdown::Signals;
use service::tasks::Tasks;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::app::reload::Reload;
use crate::config::Config;
use crate::instances::{InstancesFollower, InstancesMetrics};
use crate::logs::deliver::metrics::DeliverMetrics;
use crate::logs::pipeline::metrics::LogMetrics;
use crate::logs::shape::Now;
use crate::logs::supervise::{Beats, Logs, World};
use crate::relay;
use crate::tail::{self, TailOptions};
use crate::traces;

mod life;
mod reload;

/// How long the parts may take to stop; systemd's own limit in the unit is longer.
const GRACE: Duration = Duration::from_secs(10);
/// How much of that a destination has to take what was read.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the agent until it is told to stop. `file` is where the configuration came from.
///
/// # Errors
/// When a port cannot be bound, the state directory cannot be had, or a task dies.
pub fn run(config: Config, file: Option<PathBuf>) -> anyhow::Result<()> {
    let level = service::logging::init(&config.log)?;
    install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(start(config, Reload { file, level }))
}

/// The one TLS provider of the process; it fails only when one is installed already, which is as good.
fn install_tls() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        warn!("A TLS provider was installed before");
    }
}

/// Shows what is logged from now on, until standard output is closed.
///
/// # Errors
/// When nothing can be read or written.
pub fn tail(config: Config, options: &TailOptions) -> anyhow::Result<()> {
    install_tls();
    let client = ConsulClient::new(config.consul)?;
    let (follower, instances) = InstancesFollower::new(client, config.instances);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut following = JoinSet::new();
    following.spawn_on(follower.run(CancellationToken::new()), runtime.handle());
    Ok(tail::run(&config.logs, options, instances, now)?)
}

/// The process's clocks.
pub(crate) fn now() -> Now {
    Now { monotonic: Instant::now(), realtime_us: now_ns() / 1_000 }
}

/// Nanoseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the wiring owns the clock")]
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

async fn start(config: Config, reload: Reload) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let signals = Signals::install(shutdown.clone())?;
    let mut tasks = Tasks::new(shutdown.clone());
    let mut metrics = Registry::default();
    let admin = Admin::bind(config.admin).await?;
    info!(address = %admin.address(), "Serving admin pages");

    let client = ConsulClient::new(config.consul)?;
    let (follower, instances) = InstancesFollower::new(client, config.instances);
    metrics.register_collector(Box::new(InstancesMetrics { instances: instances.clone() }));
    tasks.spawn("instances", follower.run(shutdown.clone()));

    let beats = Beats::default();
    let world = World {
        metrics: LogMetrics::new(&mut metrics),
        deliver: DeliverMetrics::new(&mut metrics),
        instances: instances.clone(),
        host: host_name(),
        clock: now,
        random: || fastrand::u64(..),
        grace: DRAIN,
        beats: beats.clone(),
    };
    let state_dir = config.logs.state_dir.clone();
    let is_on = !config.logs.destinations.is_empty();
    let (logs, logs_out) = watch::channel(Arc::clone(&config.logs));
    if is_on {
        let logs = Logs::open(&state_dir, world)?;
        tasks.spawn("logs", logs.run(logs_out, shutdown.clone()));
    } else {
        info!("No logs are read: the configuration has no [logs.destinations]");
    }

    let (readiness, readiness_out) = watch::channel(Readiness::NotReady("starting".to_owned()));
    tasks.spawn("life", life::run(readiness, beats, shutdown.clone()));
    if let Some(config) = config.relay {
        let instances = instances.clone();
        let address =
            relay::start(config, instances, admin.address(), &mut metrics, &mut tasks).await?;
        info!(%address, "Serving the metrics of this host");
    }
    let mut pages = axum::Router::new();
    if let Some(traces) = config.traces {
        let part =
            traces::start(traces, instances, now_ns, &mut metrics, &mut tasks, &shutdown).await?;
        pages = pages.merge(part);
    }
    tasks.spawn("admin", admin.run(readiness_out, Arc::new(metrics), pages, shutdown.clone()));
    let reloads = signals.reloads();
    tasks.spawn_background(reload.run(reloads, logs, is_on));
    tasks.spawn_background(async move {
        if let Err(error) = signals.run().await {
            warn!(error = %ErrorChain(&error), "Signals are no longer served");
        }
    });
    tasks.run(GRACE).await?;
    Ok(())
}

/// What this host calls itself, as the kernel knows it.
fn host_name() -> Arc<str> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => Arc::from("localhost"),
        name => Arc::from(name),
    }
}
