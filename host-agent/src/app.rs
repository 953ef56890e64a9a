//! The wiring: owns every task, readiness and the order of stopping.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consul::ConsulClient;
use prometheus_client::registry::Registry;
use service::ErrorChain;
use service::admin::{Admin, Readiness};
use service::shutdown::Signals;
use service::tasks::Tasks;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::instances::{InstancesFollower, InstancesMetrics};
use crate::relay;
use crate::traces;

/// How long the parts may take to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When a port cannot be bound or a task dies.
pub fn run(config: Config) -> anyhow::Result<()> {
    service::logging::init(&config.log)?;
    // The one TLS provider of the process; it fails only when one is installed already, which is as good.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        warn!("A TLS provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(start(config))
}

async fn start(config: Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let signals = Signals::install(shutdown.clone())?;
    let mut tasks = Tasks::new(shutdown.clone());
    let mut metrics = Registry::default();

    let client = ConsulClient::new(config.consul)?;
    let (follower, instances) = InstancesFollower::new(client, config.instances);
    metrics.register_collector(Box::new(InstancesMetrics { instances: instances.clone() }));
    tasks.spawn("instances", follower.run(shutdown.clone()));

    let admin = Admin::bind(config.admin).await?;
    info!(address = %admin.address(), "Serving admin pages");
    if let Some(config) = config.relay {
        let instances = instances.clone();
        let address =
            relay::start(config, instances, admin.address(), &mut metrics, &mut tasks).await?;
        info!(%address, "Serving the metrics of this host");
    }
    let readiness = watch::Sender::new(Readiness::Ready).subscribe();
    let mut pages = axum::Router::new();
    if let Some(traces) = config.traces {
        let part =
            traces::start(traces, instances, now_ns, &mut metrics, &mut tasks, &shutdown).await?;
        pages = pages.merge(part);
    }
    tasks.spawn("admin", admin.run(readiness, Arc::new(metrics), pages, shutdown.clone()));
    tasks.spawn_background(async move {
        if let Err(error) = signals.run().await {
            warn!(error = %ErrorChain(&error), "Signals are no longer served");
        }
    });
    tasks.run(GRACE).await?;
    Ok(())
}

/// Nanoseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the wiring owns the clock")]
fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
