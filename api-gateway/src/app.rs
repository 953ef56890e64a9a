//! The wiring: owns every task, readiness and the order of stopping.
//!
//! ```text
//!  Envoy ──▶ server ─┬▶ transcode ◀─ schemas ◀─ owner ◀─ reflection, files
//!                    └▶ authz     ◀─ keys    ◀─ Consul
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use consul::ConsulClient;
use http::Uri;
use prometheus_client::registry::Registry;
use service::ErrorChain;
use service::admin::{Admin, Readiness};
use service::shutdown::Signals;
use service::tasks::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use crate::authz::{Authz, AuthzMetrics};
use crate::config::Config;
use crate::keys::{KeyFollower, KeyMetrics};
use crate::metrics::{ConversionMetrics, SchemaMetrics};
use crate::pages::{Pages, trial};
use crate::routes::{self, RoutesFollower};
use crate::schema::{self, DescriptorFolder, Owner, Reflection, Schemas, Sources};
use crate::server::{GRACE, Server};
use crate::transcode::{Egress, Options};

/// How long one question by reflection may take.
const REFLECTION_DEADLINE: Duration = Duration::from_secs(4);

/// Runs the application until it is told to stop.
///
/// # Errors
/// When a port cannot be bound or a task dies.
pub fn run(config: &Config) -> anyhow::Result<()> {
    service::logging::init(&config.log)?;
    // The one TLS provider of the process; it fails only when one is installed already, which is as good.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        warn!("A TLS provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(start(config))
}

async fn start(config: &Config) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let signals = Signals::install(shutdown.clone())?;
    let mut tasks = Tasks::new(shutdown.clone());
    let mut metrics = Registry::default();

    let schemas = spawn_schemas(config, &mut tasks, &shutdown)?;
    metrics.register_collector(Box::new(SchemaMetrics(schemas.clone())));

    let authz = spawn_keys(config, &mut metrics, &mut tasks, &shutdown)?;
    let (follower, known) =
        RoutesFollower::new(config.egress, config.ingress.is_some(), schemas.clone());
    tasks.spawn("routes", follower.run(shutdown.clone()));
    let listing = routes::page(&known);
    let pages = Pages::new(schemas.clone(), known.described, config.json).router().merge(listing);
    let pages = config.ingress.into_iter().fold(pages, |all, to| all.merge(trial::router(to)));
    let server = Server {
        schemas,
        egress: Egress::new(config.egress),
        options: Arc::new(Options { json: config.json, limits: config.limits.clone() }),
        metrics: ConversionMetrics::new(&mut metrics),
        others: Routes::new(authz.into_server()).into_axum_router(),
    };
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}: choose another port, or stop what holds it", config.listen)
    })?;
    info!(address = %listener.local_addr()?, "Serving the gateway's Envoy");
    tasks.spawn("server", server.run(listener, shutdown.clone()));

    let admin = Admin::bind(config.admin).await?;
    info!(address = %admin.address(), "Serving admin pages");
    let readiness = watch::Sender::new(Readiness::Ready).subscribe();
    tasks.spawn("admin", admin.run(readiness, Arc::new(metrics), pages, shutdown.clone()));
    tasks.spawn_background(async move {
        if let Err(error) = signals.run().await {
            warn!(error = %ErrorChain(&error), "Signals are no longer served");
        }
    });
    tasks.run(GRACE + Duration::from_secs(2)).await?;
    Ok(())
}

/// What decides about keys, kept current from Consul.
fn spawn_keys(
    config: &Config,
    metrics: &mut Registry,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> anyhow::Result<Authz> {
    let (follower, keys) = KeyFollower::new(ConsulClient::new(config.consul.clone())?);
    tasks.spawn("keys", follower.run(shutdown.clone()));
    metrics.register_collector(Box::new(KeyMetrics { table: keys.clone() }));
    Ok(Authz { keys, metrics: AuthzMetrics::new(metrics), clock: now })
}

/// Seconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the wiring owns the clock")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn spawn_schemas(
    config: &Config,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> anyhow::Result<Schemas> {
    let egress: Uri = format!("http://{}", config.egress).parse()?;
    let limits = schema::Limits::default();
    let sources = Sources {
        reflection: Reflection { egress, limits, deadline: REFLECTION_DEADLINE },
        folder: DescriptorFolder { path: config.descriptors.clone(), limits },
    };
    let (owner, schemas) = Owner::new(sources, config.schemas);
    tasks.spawn("schemas", owner.run(shutdown.clone()));
    Ok(schemas)
}
