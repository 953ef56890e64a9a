//! The wiring: builds the stages 1 to 5, owns every task, readiness and the order of stopping.
//!
//! ```text
//! registry ──mpsc──▶ catalog ──watch──▶ mesh + cache ──watch per kind of proxy──▶ streams
//!                      │ last good state ──▶ file           └─ model ─▶ API, admin
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use prometheus_client::registry::Registry as Metrics;
use service::ErrorChain;
use service::admin::{Admin, Readiness as AdminReadiness};
use service::shutdown::Signals;
use service::tasks::Tasks;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::{self, ApiState};
use crate::app::last_good_file::LastGoodFile;
use crate::app::reload::Reload;
use crate::app::source::CacheSource;
use crate::catalog::run::{CatalogState, CatalogTask};
use crate::catalog::store::CatalogStore;
use crate::config::{Config, RegistryConfig, XdsListener};
use crate::mesh::MeshModel;
use crate::metrics::CatalogMetrics;
use crate::registry::consul::ConsulRegistry;
use crate::registry::nomad::NomadRegistry;
use crate::registry::{Registry, RegistryEvent};
use crate::xds::cache::run::CacheTask;
use crate::xds::server::{ProxyTable, XdsConfig, XdsMetrics, XdsServer, XdsTls, serve};

mod last_good_file;
mod reload;
mod source;

/// Events that may wait for the catalog; a full queue slows the registry down, nothing is lost.
const EVENT_QUEUE: usize = 4096;
/// Connections that wait to be accepted; the kernel's own limit (`net.core.somaxconn`) holds below it. When thousands of
/// proxies return at once, those that find no place try again only after a second, then after three more.
const BACKLOG: u32 = 65_535;
/// Proxies that may wait to be subscribed.
const SUBSCRIBE_QUEUE: usize = 1024;
/// How long after a change the last good state is written.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// Runs the control plane until it is told to stop. `file` is where the configuration came from.
///
/// # Errors
/// When a port cannot be bound, the registry can never work as configured, or a task dies.
pub fn run(config: &Config, file: Option<PathBuf>) -> anyhow::Result<()> {
    let level = service::logging::init(&config.log)?;
    // The one TLS provider of the process; it fails only when one is installed already, which is as good.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        warn!("A TLS provider was installed before");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(start(config, Reload { file, in_force: config.clone(), level }))
}

async fn start(config: &Config, reload: Reload) -> anyhow::Result<()> {
    let started = Instant::now();
    let shutdown = CancellationToken::new();
    let signals = Signals::install(shutdown.clone())?;
    let mut tasks = Tasks::new(shutdown.clone());
    let mut metrics = Metrics::default();

    let (events, received) = mpsc::channel(EVENT_QUEUE);
    spawn_registry(&config.registry, events, &mut tasks, &shutdown)?;
    let catalog = spawn_catalog(config, received, started, &mut tasks, &shutdown);
    let above = config.xds.on_demand_above;
    let (model, subscribers) = spawn_cache(catalog.clone(), above, &mut tasks, &shutdown);
    let shown = CatalogMetrics { state: catalog.clone(), model: model.clone(), started };
    metrics.register_collector(Box::new(shown));

    let proxies = ProxyTable::default();
    let xds = XdsServer::new(
        xds_config(&config.xds)?,
        CacheSource { subscribers },
        proxies.clone(),
        XdsMetrics::new(&mut metrics),
        shutdown.clone(),
        Arc::new(random),
    );
    let state = ApiState { catalog: catalog.clone(), model, proxies, started };
    let (ready, readiness) = spawn_readiness(catalog, &mut tasks, &shutdown);

    let listener = bind(config.xds.listen, "xds")?;
    info!(address = %listener.local_addr()?, "Serving xDS");
    tasks.spawn("xds", serve(listener, xds, ready));
    let listener = bind(config.api.listen, "api")?.into_std()?;
    info!(address = %listener.local_addr()?, "Serving the API");
    let access = config.api.clone();
    tasks.spawn("api", api::serve(listener, access, state.clone(), shutdown.clone()));
    let admin = Admin::bind(config.admin).await?;
    info!(address = %admin.address(), "Serving admin pages");
    let debug = api::debug_pages(state, format!("{config:#?}\n"));
    tasks.spawn("admin", admin.run(readiness, Arc::new(metrics), debug, shutdown.clone()));
    tasks.spawn("reload", infallible(reload.run(signals.reloads(), shutdown.clone())));
    tasks.spawn_background(async move {
        if let Err(error) = signals.run().await {
            warn!(error = %ErrorChain(&error), "Signals are no longer served");
        }
    });
    tasks.run(config.xds.drain + Duration::from_secs(5)).await?;
    Ok(())
}

fn spawn_registry(
    config: &RegistryConfig,
    events: mpsc::Sender<RegistryEvent>,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> anyhow::Result<()> {
    match config {
        RegistryConfig::Consul(consul, watch) => {
            let registry = ConsulRegistry::new((**consul).clone(), watch.clone())?;
            tasks.spawn("registry", registry.run(events, shutdown.clone()));
        }
        RegistryConfig::Nomad(nomad, watch, documents) => {
            let registry = NomadRegistry::new((**nomad).clone(), watch.clone())?;
            if let Some(documents) = documents.clone() {
                tasks.spawn("documents", documents.run(events.clone(), shutdown.clone()));
            }
            tasks.spawn("registry", registry.run(events, shutdown.clone()));
        }
        RegistryConfig::File(registry) => {
            tasks.spawn("registry", registry.clone().run(events, shutdown.clone()));
        }
    }
    Ok(())
}

fn spawn_catalog(
    config: &Config,
    events: mpsc::Receiver<RegistryEvent>,
    started: Instant,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> watch::Receiver<CatalogState> {
    let file = config.data_dir.as_deref().map(LastGoodFile::new);
    let kept = file.as_ref().and_then(LastGoodFile::load);
    let (state, observed) = watch::channel(CatalogState::default());
    let (last_good, to_save) = watch::channel(None);
    let task = CatalogTask {
        store: CatalogStore::new(config.gate, kept),
        events,
        state,
        last_good,
        window: config.coalesce,
        save_after: SAVE_AFTER,
        started: started.into(),
    };
    let token = shutdown.clone();
    tasks.spawn("catalog", infallible(async move { task.run(token).await }));
    if let Some(file) = file {
        tasks.spawn("last-good", infallible(file.run(to_save)));
    }
    observed
}

fn spawn_cache(
    state: watch::Receiver<CatalogState>,
    on_demand_above: usize,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> (watch::Receiver<Arc<MeshModel>>, mpsc::Sender<crate::xds::cache::run::Subscribe>) {
    let (model, models) = watch::channel(Arc::default());
    let (subscribe, subscribers) = mpsc::channel(SUBSCRIBE_QUEUE);
    let task = CacheTask { state, subscribers, on_demand_above, model };
    let token = shutdown.clone();
    tasks.spawn("cache", infallible(async move { task.run(token).await }));
    (models, subscribe)
}

/// Readiness for the gRPC health service and for the admin port, both from the catalog's.
fn spawn_readiness(
    mut catalog: watch::Receiver<CatalogState>,
    tasks: &mut Tasks,
    shutdown: &CancellationToken,
) -> (watch::Receiver<bool>, watch::Receiver<AdminReadiness>) {
    let (ready, readiness) = watch::channel(false);
    let (admin, admin_readiness) = watch::channel(AdminReadiness::NotReady("starting".to_owned()));
    let token = shutdown.clone();
    tasks.spawn(
        "readiness",
        infallible(async move {
            loop {
                let state = catalog.borrow_and_update().readiness.clone();
                let is_ready = state.is_ready() && !token.is_cancelled();
                ready.send_if_modified(|before| std::mem::replace(before, is_ready) != is_ready);
                admin.send_replace(match state.reason() {
                    _ if token.is_cancelled() => AdminReadiness::NotReady("stopping".to_owned()),
                    Some(reason) if !is_ready => AdminReadiness::NotReady(reason.to_owned()),
                    _ => AdminReadiness::Ready,
                });
                if token.is_cancelled() {
                    return;
                }
                tokio::select! {
                    () = token.cancelled() => {}
                    changed = catalog.changed() => if changed.is_err() { return },
                }
            }
        }),
    );
    (readiness, admin_readiness)
}

/// A task that cannot fail, in the form of those that can.
async fn infallible(task: impl Future<Output = ()>) -> Result<(), io::Error> {
    task.await;
    Ok(())
}

fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A port that connections of an earlier process still hold in TIME_WAIT is free.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| {
        format!(
            "cannot listen on {address}: choose another port as {key}.listen, or stop what holds it"
        )
    })
}

fn xds_config(config: &XdsListener) -> anyhow::Result<XdsConfig> {
    let read = |path: &std::path::Path| {
        std::fs::read(path).with_context(|| format!("cannot read the TLS file {}", path.display()))
    };
    let tls = match &config.tls {
        None => None,
        Some(files) => Some(XdsTls {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        }),
    };
    Ok(XdsConfig {
        stream_age: config.stream_age,
        drain: config.drain,
        admit_at_once: config.admit_at_once,
        admission_wait: config.admission_wait,
        tls,
        ..XdsConfig::default()
    })
}

/// A number of [0, 1) from the standard library's own random keys: enough to spread what must not happen at once.
fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}
