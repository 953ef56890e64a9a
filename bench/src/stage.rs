//! What every scenario stands on: a filled Consul, a server, a fleet.
//!
//! In: a [`Setup`]. Out: a [`Stage`] whose parts end with it. Called by the scenarios.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contract::node::{NodeMetadata, NodeService, ProxyRole};
use tempfile::TempDir;

use crate::board::Goal;
use crate::consul::{Catalogue, Consul, SYSTEM, service_name};
use crate::contender::{Contender, Server};
use crate::fleet::Fleet;
use crate::node;
use crate::proxy::Mode;

/// The service that every stream depends on, and whose instances come and go.
pub const HOT: usize = 0;
/// Streams that begin each second while a fleet connects at its leisure.
const RAMP: u32 = 1000;
/// How long a whole fleet may take for anything.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// Without a byte for so long, nothing is under way any more.
const QUIET: Duration = Duration::from_millis(500);
const EGRESS: u16 = 15001;

/// The size of a scenario.
#[derive(Debug, Clone, clap::Args)]
pub struct Setup {
    /// Services in Consul.
    #[arg(long, default_value_t = 100)]
    pub services: usize,
    /// Instances of each.
    #[arg(long, default_value_t = 10)]
    pub instances: usize,
    /// Simulated Envoys.
    #[arg(long, default_value_t = 1000)]
    pub streams: usize,
    /// Services that each depends on; 0: all of them.
    #[arg(long, default_value_t = 20)]
    pub upstreams: usize,
    /// Different services that the Envoys stand beside; each Envoy has ports of its own.
    #[arg(long, default_value_t = 100)]
    pub apps: usize,
    /// The variant of the protocol.
    #[arg(long, value_enum, default_value_t = Mode::Delta)]
    pub mode: Mode,
    /// Let the server reach Consul over plain HTTP.
    #[arg(long)]
    pub plain: bool,
}

/// A scenario's parts.
#[derive(Debug)]
pub struct Stage {
    /// The fleet.
    pub fleet: Fleet,
    /// The server.
    pub server: Server,
    /// Consul.
    pub consul: Consul,
    /// Where their files are.
    pub dir: TempDir,
    setup: Setup,
    events: usize,
}

impl Stage {
    /// Starts Consul and the server, and waits until the server serves; the fleet is not connected.
    ///
    /// # Errors
    /// A part is missing or does not start.
    pub async fn raise(setup: &Setup, contender: Contender) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a folder")?;
        let consul = start_consul(&dir, setup, contender).await?;
        let server = Server::start(contender, "server", dir.path(), &consul, !setup.plain)?;
        let mut stage = Self {
            fleet: Fleet::new(setup.mode, nodes(setup)?),
            server,
            consul,
            dir,
            setup: setup.clone(),
            events: 0,
        };
        stage.wait_served().await?;
        Ok(stage)
    }

    /// One proxy gets its configuration: the server is ready.
    async fn wait_served(&mut self) -> anyhow::Result<()> {
        let first = nodes(&Setup { streams: 1, ..self.setup.clone() })?;
        let mut scout = Fleet::new(self.setup.mode, first);
        scout.board.expect(Goal::Configured);
        scout.connect(self.server.xds, None).await;
        let served = scout.board.all(DEADLINE).await;
        scout.disconnect().await;
        self.server.check()?;
        served.map(drop)
    }

    /// Connects the fleet at leisure, until every proxy is configured and nothing moves; the seconds that took.
    ///
    /// # Errors
    /// Some proxies are not configured in time.
    pub async fn connect(&mut self) -> anyhow::Result<f64> {
        let board = self.fleet.board.clone();
        board.expect(Goal::Configured);
        let begin = board.now();
        self.fleet.connect(self.server.xds, Some(RAMP)).await;
        let arrivals = board.all(DEADLINE).await?;
        let end = arrivals.into_iter().max().unwrap_or(begin);
        self.settle().await;
        Ok(seconds(begin, end))
    }

    /// Waits until nothing moves.
    pub async fn settle(&self) -> u64 {
        self.fleet.board.settle(QUIET).await
    }

    /// Adds an instance of the hot service, or removes the one of the call before; when that began, and the goal.
    ///
    /// # Errors
    /// Consul refuses.
    pub async fn flap(&mut self) -> anyhow::Result<u64> {
        let (number, is_added) = (self.events / 2, self.events.is_multiple_of(2));
        self.events += 1;
        let address = format!("10.250.{}.{}", 100 + number / 150, 100 + number % 150);
        let service = service_name(HOT);
        self.fleet.board.expect(Goal::Endpoint {
            service: service.clone(),
            address: address.clone(),
            is_present: is_added,
        });
        let begin = self.fleet.board.now();
        let id = format!("event-{number}");
        if is_added {
            self.consul.add(&service, &id, &address).await?;
        } else {
            self.consul.remove(&id).await?;
        }
        Ok(begin)
    }

    /// How many proxies there are.
    #[expect(clippy::cast_precision_loss, reason = "a fleet is far smaller than 2^52")]
    pub fn size(&self) -> f64 {
        self.fleet.size() as f64
    }
}

/// A Consul for this scenario.
///
/// # Errors
/// It is missing or does not start.
pub async fn start_consul(
    dir: &TempDir,
    setup: &Setup,
    contender: Contender,
) -> anyhow::Result<Consul> {
    let catalogue = Catalogue { services: setup.services, instances: setup.instances };
    let is_raised = setup.plain && setup.services > 150 && contender.needs_connections();
    Consul::start(dir.path(), catalogue, is_raised.then_some(16_384)).await
}

/// Seconds between two times of a board.
#[expect(clippy::cast_precision_loss, reason = "runs are far shorter than 2^52 ns")]
pub fn seconds(begin: u64, end: u64) -> f64 {
    end.saturating_sub(begin) as f64 / 1e9
}

/// The fleet's encoded nodes.
///
/// # Errors
/// A name is none.
pub fn nodes(setup: &Setup) -> anyhow::Result<Vec<Arc<[u8]>>> {
    (0..setup.streams)
        .map(|index| {
            let (id, cluster, mesh) = identity(setup, index)?;
            Ok(node::encode(&id, &cluster, &mesh)?.into())
        })
        .collect()
}

/// `node.id`, `node.cluster` and `node.metadata.mesh` of one Envoy: a sidecar with ports of its own.
///
/// # Errors
/// A name is none.
pub fn identity(setup: &Setup, index: usize) -> anyhow::Result<(String, String, NodeMetadata)> {
    let app = index % setup.apps.clamp(1, setup.services);
    let name = service_name(app);
    let inbound = u16::try_from(20_000 + index / setup.apps.max(1)).context("too many streams")?;
    let mesh = NodeMetadata {
        system: Some(SYSTEM.parse()?),
        role: ProxyRole::Sidecar,
        bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        host: None,
        services: vec![NodeService {
            name: name.parse()?,
            inbound,
            app: Some(8080),
            ingress: None,
            protocol: None,
        }],
        egress: Some(EGRESS),
        upstreams: (setup.upstreams > 0).then(|| upstreams(setup, app).parse()).transpose()?,
        tls: None,
        trusted_hops: 0,
        proxyless: false,
        agent: None,
    };
    Ok((format!("fleet-{index:05}"), name, mesh))
}

/// The hot service and others, different for each app.
fn upstreams(setup: &Setup, app: usize) -> String {
    let others = (1..setup.services).cycle().skip(app).take(setup.services.saturating_sub(1));
    let chosen = std::iter::once(HOT).chain(others).take(setup.upstreams);
    chosen.map(service_name).collect::<Vec<_>>().join(", ")
}
