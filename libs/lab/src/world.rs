//! A mesh: a registry, control planes, a Router, and the instances placed in it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use futures::future::try_join_all;

use crate::consul::{Consul, ConsulOptions};
use crate::control_plane::ControlPlane;
use crate::envoy::Envoy;
use crate::host_agent::HostAgent;
use crate::http::Client;
use crate::netns::Network;
use crate::parts::Parts;
use crate::placer::{Allocation, Placer, ServiceSpec, Stop};
use crate::process::{self, Program};
use crate::registry::{FileRegistry, Registry};
use crate::{LabError, ports};

mod start;

pub use start::RouterSetup;

/// Matches the counters of requests that were tried again.
const RETRIES: &str = "^cluster\\..*upstream_rq_retry$";

/// How a mesh is to be.
#[derive(Debug, Clone)]
pub struct WorldOptions {
    /// The binaries.
    pub parts: Parts,
    /// Where files and logs go; must exist.
    pub dir: PathBuf,
    /// How Consul is to be; `None`: the file registry.
    pub consul: Option<ConsulOptions>,
    /// What control planes may do in a Consul with access control (its policy language); `None`: they have no token.
    pub rules: Option<String>,
    /// How many control planes.
    pub control_planes: usize,
    /// The Router's port; `None`: the kernel chooses.
    pub router_port: Option<u16>,
    /// Whether proxies speak state of the world in place of delta.
    pub sotw: bool,
    /// Whether each pair gets a network namespace (needs root).
    pub bridge: bool,
    /// Whether the host has its agent. Not with `bridge`.
    pub has_agent: bool,
    /// Where the spans of the host's agent go; `None`: it takes none.
    pub spans_to: Option<SocketAddr>,
    /// Sidecars that reach more services ask for clusters as they need them; `None`: the control plane's own limit.
    pub on_demand_above: Option<usize>,
}

impl WorldOptions {
    /// Consul where there is one, two control planes, delta, host mode.
    pub fn new(parts: Parts, dir: &Path) -> Self {
        Self {
            consul: parts.consul.is_some().then(ConsulOptions::default),
            parts,
            dir: dir.to_owned(),
            rules: None,
            control_planes: 2,
            router_port: None,
            sotw: false,
            bridge: false,
            has_agent: false,
            spans_to: None,
            on_demand_above: None,
        }
    }
}

#[derive(Debug)]
enum Backend {
    Consul(Box<Consul>),
    File(FileRegistry),
}

/// A running mesh. Fields are in the order in which they may be dropped.
#[derive(Debug)]
pub struct World {
    /// Instances, in the order of placing.
    pub allocations: Vec<Allocation>,
    /// The Router.
    pub router: Envoy,
    /// Control planes.
    pub control_planes: Vec<ControlPlane>,
    /// The host's agent, if there is one.
    pub host_agent: Option<HostAgent>,
    backend: Backend,
    placer: Placer,
    router_address: SocketAddr,
    client: Client,
    taken_away: TakenAway,
}

/// What the Envoys of instances that are gone had to say at their end.
#[derive(Debug, Default)]
struct TakenAway {
    faults: Vec<String>,
    retries: u64,
}

impl World {
    /// Starts the registry, the control planes and the Router, and waits until they are ready.
    pub async fn start(options: &WorldOptions) -> Result<Self, LabError> {
        let network = if options.bridge { Some(Network::create()?) } else { None };
        let host = network.as_ref().map(|network| (network.host(), network.host_address()));
        let backend = start::backend(options, host.map(|(ns, ip)| (ns.clone(), ip))).await?;
        let source = start::source(options, &backend).await?;
        let binary = options.parts.our("control-plane")?;
        let mut control_planes = (1..=options.control_planes)
            .map(|number| {
                let name = format!("control-plane-{number}");
                ControlPlane::start(
                    &binary,
                    &name,
                    &options.dir,
                    &source,
                    host,
                    options.on_demand_above,
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        try_join_all(control_planes.iter_mut().map(ControlPlane::wait_ready)).await?;
        let host_agent = start::host_agent(options, &backend, &control_planes).await?;
        let placer = Placer {
            agent: host_agent.as_ref().and_then(HostAgent::spans).map(|spans| spans.port()),
            parts: options.parts.clone(),
            dir: options.dir.clone(),
            xds: control_planes.iter().map(|one| one.xds()).collect(),
            sotw: options.sotw,
            network,
        };
        let ip = placer.network.as_ref().map_or(Ipv4Addr::LOCALHOST, Network::host_address);
        let port = options.router_port.map_or_else(ports::reserve, Ok)?;
        let router_address = SocketAddr::from((ip, port));
        let mut router =
            start::router(&placer, &RouterSetup::plain("router", router_address)).await?;
        router.wait_live().await?;
        let client = Client::inside(placer.network.as_ref().map(Network::host));
        Ok(Self {
            allocations: Vec::new(),
            router,
            control_planes,
            host_agent,
            backend,
            placer,
            router_address,
            client,
            taken_away: TakenAway::default(),
        })
    }

    /// Where clients call.
    pub fn router_address(&self) -> SocketAddr {
        self.router_address
    }

    /// A client that can reach the Router.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Consul, unless the mesh runs on files.
    pub fn consul(&self) -> Option<&Consul> {
        match &self.backend {
            Backend::Consul(consul) => Some(consul),
            Backend::File(_) => None,
        }
    }

    /// Consul, to harm it.
    pub fn consul_mut(&mut self) -> Option<&mut Consul> {
        match &mut self.backend {
            Backend::Consul(consul) => Some(consul),
            Backend::File(_) => None,
        }
    }

    /// Puts a System's document in force: with `meshctl apply` where there is Consul, else as a file.
    pub async fn apply(&self, system: &str, document: &str) -> Result<(), LabError> {
        match &self.backend {
            Backend::File(files) => files.replace(&format!("{system}.yaml"), document),
            Backend::Consul(consul) => {
                let file = self.placer.dir.join(format!("{system}.yaml"));
                std::fs::write(&file, document)
                    .map_err(LabError::io(format!("write {}", file.display())))?;
                let mut apply = Program::new("meshctl apply", &self.placer.parts.our("meshctl")?)
                    .args(["apply", "--yes", "--consul", &consul.url(), "-f"])
                    .args([file.display().to_string()]);
                if let Some(token) = consul.token() {
                    let file = start::secret(&self.placer.dir, "management-token", token)?;
                    apply = apply.args(["--token-file", &file.display().to_string()]);
                }
                let apply = apply.in_netns(self.placer.network.as_ref().map(Network::host));
                process::run(&apply).await.map(|_| ())
            }
        }
    }

    /// Where instances are registered.
    pub fn registry(&self) -> Registry<'_> {
        match &self.backend {
            Backend::Consul(consul) => Registry::Consul(consul),
            Backend::File(files) => Registry::File(files),
        }
    }

    /// Places one instance of each, at the same time, and waits until all pass their checks.
    pub async fn place(&mut self, specs: &[ServiceSpec]) -> Result<(), LabError> {
        let new = {
            let (placer, registry) = (&self.placer, self.registry());
            let one = |spec| async move {
                let mut allocation = placer.place(registry, spec).await?;
                placer.wait_passing(registry, &mut allocation).await?;
                allocation.envoy_mut().wait_live().await?;
                Ok::<_, LabError>(allocation)
            };
            try_join_all(specs.iter().map(one)).await?
        };
        self.allocations.extend(new);
        Ok(())
    }

    /// The instances of one service.
    pub fn instances_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Allocation> {
        self.allocations.iter().filter(move |allocation| allocation.spec().name == name)
    }

    /// Moves the oldest instance of a service to other ports, and gives the new one.
    pub async fn replace(&mut self, name: &str, how: Stop) -> Result<&Allocation, LabError> {
        let old = self.take(name).await?;
        let new = self.placer.replace(self.registry(), old, how).await?;
        self.allocations.push(new);
        self.allocations.last().ok_or_else(|| none_of(name))
    }

    /// Takes the oldest instance of a service away.
    pub async fn remove(&mut self, name: &str, how: Stop) -> Result<(), LabError> {
        let old = self.take(name).await?;
        self.placer.stop(self.registry(), old, how).await
    }

    /// Starts one more Router, beside the mesh's own, and waits until it is live.
    pub async fn start_router(&self, setup: &RouterSetup) -> Result<Envoy, LabError> {
        let mut router = start::router(&self.placer, setup).await?;
        router.wait_live().await?;
        Ok(router)
    }

    /// The bridge between the pairs' namespaces, where there is one.
    pub fn network(&self) -> Option<&Network> {
        self.placer.network.as_ref()
    }

    /// Every Envoy: the Router's and those of the instances.
    pub fn envoys(&self) -> impl Iterator<Item = &Envoy> {
        std::iter::once(&self.router).chain(self.allocations.iter().map(Allocation::envoy))
    }

    /// What must not be and is: updates that an Envoy refused, waited for in vain, or has left warming; those of
    /// instances that were taken away included.
    pub async fn config_faults(&self) -> Result<Vec<String>, LabError> {
        let faults = try_join_all(self.envoys().map(faults_of)).await?;
        Ok(self.taken_away.faults.iter().cloned().chain(faults.into_iter().flatten()).collect())
    }

    /// How many requests the proxies have tried again.
    pub async fn retries(&self) -> Result<u64, LabError> {
        let retries = try_join_all(self.envoys().map(|envoy| envoy.sum(RETRIES))).await?;
        Ok(self.taken_away.retries + retries.iter().sum::<u64>())
    }

    /// Ends everything, callers before those they call.
    pub async fn stop(mut self) -> Result<(), LabError> {
        self.router.stop().await?;
        // Without registry nobody needs the order of a drained stop.
        self.allocations.clear();
        try_join_all(self.control_planes.iter_mut().map(ControlPlane::stop)).await?;
        if let Some(agent) = &mut self.host_agent {
            agent.stop().await?;
        }
        match &mut self.backend {
            Backend::Consul(consul) => consul.stop().await,
            Backend::File(_) => Ok(()),
        }
    }

    async fn take(&mut self, name: &str) -> Result<Allocation, LabError> {
        let position = self.allocations.iter().position(|other| other.spec().name == name);
        let taken = position.map(|index| self.allocations.remove(index));
        let taken = taken.ok_or_else(|| none_of(name))?;
        self.taken_away.faults.extend(faults_of(taken.envoy()).await?);
        self.taken_away.retries += taken.envoy().sum(RETRIES).await?;
        Ok(taken)
    }
}

async fn faults_of(envoy: &Envoy) -> Result<Vec<String>, LabError> {
    let faults = envoy.config_faults().await?;
    Ok(faults.into_iter().map(|(stat, n)| format!("{} {stat}={n}", envoy.name())).collect())
}

fn none_of(name: &str) -> LabError {
    LabError::Missing { what: format!("an instance of {name}"), next: "place one first".to_owned() }
}
