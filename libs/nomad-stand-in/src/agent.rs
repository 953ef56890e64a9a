//! The agent: the server and the client of one host, in one process.
//!
//! | module | is |
//! |---|---|
//! | [`settings`] | what it is told |
//! | [`job`] | jobs: defaults, rules, meaning, differences |
//! | [`state`], [`store`] | what is known, and its one writer |
//! | [`core`], [`evaluate`], [`deployment`], [`drain`] | what follows from it: pure |
//! | [`client`] | processes, networks, registrations |
//! | [`ports`] | the dynamic ports that are this agent's |
//! | [`http`] | Nomad's API |
//!
//! **Invariants**: IO only in `client`, `http`, `ports` and `store`; the decisions between are functions of a state, a time and
//! [`evaluate::Chance`].

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use service::ErrorChain;
use service::shutdown::Signals;
use service::tasks::{BoxError, Tasks};

pub(crate) mod client;
mod core;
mod deployment;
mod drain;
mod evaluate;
mod http;
pub(crate) mod job;
mod ports;
pub(crate) mod settings;
mod state;
mod store;
pub(crate) mod time;

use client::Client;
use http::Api;
use settings::Settings;
use state::Node;
use store::Store;

const TICK: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_secs(60);

/// Runs an agent until it is told to stop.
pub(crate) async fn run(mut settings: Settings) -> Result<(), BoxError> {
    std::fs::create_dir_all(settings.data_dir.join("alloc"))?;
    if settings.node_name.is_empty() {
        settings.node_name = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    }
    let file = (!settings.is_dev).then(|| settings.data_dir.join("state.json"));
    let store = Arc::new(Store::open(file)?);
    store.change(|state, _, _| {
        for node in nodes(&settings) {
            let known = state.nodes.get(&node.id).cloned();
            let known = known.as_deref();
            state.put_node(Node {
                is_eligible: known.is_none_or(|known| known.is_eligible),
                drain: known.and_then(|known| known.drain.clone()),
                create_index: known.map_or(0, |known| known.create_index),
                ..node
            });
        }
    });
    let client = Arc::new(Client::new(Arc::clone(&store), settings.clone())?);
    let listener = tokio::net::TcpListener::bind(settings.http).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", settings.http))
    })?;
    tracing::info!(address = %settings.http, nodes = settings.nodes, "This is a stand-in for Nomad, for tests and demos");
    let shutdown = CancellationToken::new();
    let mut tasks = Tasks::new(shutdown.clone());
    let signals = Signals::install(shutdown.clone())?;
    tasks.spawn_background(async move {
        if let Err(error) = signals.run().await {
            tracing::warn!(error = %ErrorChain(&error), "Signals are no longer served");
        }
    });
    tasks.spawn("clock", tick(Arc::clone(&store), shutdown.clone()));
    tasks.spawn("client", Arc::clone(&client).run(shutdown.clone()));
    let router = http::router(Arc::new(Api { store, client, settings }));
    tasks.spawn("http", serve(listener, router, shutdown));
    Ok(tasks.run(GRACE).await?)
}

/// Serves until shutdown; blocking queries are cut then.
async fn serve(
    listener: tokio::net::TcpListener,
    router: axum::Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    tokio::select! {
        served = axum::serve(listener, router).into_future() => served,
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn tick(store: Arc<Store>, shutdown: CancellationToken) -> io::Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            _ = ticks.tick() => store.change(|_, _, _| ()),
        }
    }
}

/// The nodes that this host pretends to be; each has the same name and id after a restart.
fn nodes(settings: &Settings) -> Vec<Node> {
    let mut drivers = BTreeSet::from(["exec".to_owned()]);
    if settings.has_raw_exec {
        drivers.insert("raw_exec".to_owned());
    }
    if settings.images.is_some() {
        drivers.insert("docker".to_owned());
    }
    let node = |number: u8| {
        let name = if number == 0 {
            settings.node_name.clone()
        } else {
            format!("{}-{number}", settings.node_name)
        };
        let mut attributes = std::collections::BTreeMap::new();
        for (key, value) in [
            ("kernel.name", "linux"),
            ("cpu.arch", if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }),
            ("nomad.version", http::VERSION),
            ("nomad.region", &settings.region),
            ("unique.hostname", &name),
            ("unique.network.ip-address", &address(settings, number).to_string()),
        ] {
            attributes.insert(key.to_owned(), value.to_owned());
        }
        attributes
            .extend(drivers.iter().map(|driver| (format!("driver.{driver}"), "1".to_owned())));
        Node {
            id: node_id(&name, number),
            name,
            datacenter: settings.datacenter.clone(),
            class: settings.node_class.clone(),
            address: address(settings, number),
            cpu: settings.cpu,
            memory_mb: settings.memory_mb,
            attributes,
            meta: settings.node_meta.clone(),
            drivers: drivers.clone(),
            has_bridge: client::is_bridge_possible(),
            is_eligible: true,
            drain: None,
            create_index: 0,
            modify_index: 0,
        }
    };
    (0..settings.nodes).map(node).collect()
}

/// On loopback each node has an address of its own, so that fixed ports do not meet.
fn address(settings: &Settings, number: u8) -> IpAddr {
    match settings.address {
        IpAddr::V4(address) if address == Ipv4Addr::LOCALHOST => {
            IpAddr::V4(Ipv4Addr::new(127, 0, 0, number.saturating_add(1)))
        }
        address => address,
    }
}

/// A UUID that follows from the name.
fn node_id(name: &str, number: u8) -> String {
    use sha2::{Digest, Sha256};
    let hex: String = Sha256::digest(format!("{name}/{number}"))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}

/// Where the HTTP API of a configuration answers.
pub(crate) fn http_address(host: &str, port: u16) -> io::Result<SocketAddr> {
    let host: IpAddr = host.parse().map_err(|_| {
        io::Error::other(format!("{host:?} is no address: bind_addr must be an IP address"))
    })?;
    Ok(SocketAddr::new(host, port))
}
