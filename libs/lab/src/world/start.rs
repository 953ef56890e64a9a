//! Starting the parts of a mesh that stand before its instances: the registry and the Router.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use contract::node::{ProxyRole, RouterTls};

use super::{Backend, WorldOptions};
use crate::consul::{Consul, ConsulOptions};
use crate::control_plane::{ControlPlane, Source};
use crate::demo::logs;
use crate::envoy::{Envoy, ProxySpec};
use crate::host_agent::{AgentOptions, HostAgent};
use crate::netns::{NetNs, Network};
use crate::placer::Placer;
use crate::registry::FileRegistry;
use crate::{LabError, ports};

pub(super) async fn backend(
    options: &WorldOptions,
    host: Option<(NetNs, Ipv4Addr)>,
) -> Result<Backend, LabError> {
    match (&options.consul, &options.parts.consul) {
        (Some(wanted), Some(binary)) => {
            let wanted = ConsulOptions { host, ..wanted.clone() };
            Consul::start(binary, &options.dir, &wanted).await.map(Box::new).map(Backend::Consul)
        }
        (Some(_), None) => Err(LabError::Missing {
            what: "Consul".to_owned(),
            next: "run `make setup`, or use the file registry".to_owned(),
        }),
        (None, _) => {
            let directory = options.dir.join("registry");
            std::fs::create_dir_all(&directory)
                .map_err(LabError::io(format!("make the folder {}", directory.display())))?;
            Ok(Backend::File(FileRegistry::new(&directory)))
        }
    }
}

/// The host's agent, ready.
pub(super) async fn host_agent(
    options: &WorldOptions,
    backend: &Backend,
    control_planes: &[ControlPlane],
) -> Result<Option<HostAgent>, LabError> {
    if !options.has_agent {
        return Ok(None);
    }
    let consul = match backend {
        Backend::Consul(consul) => Some(consul.url()),
        Backend::File(_) => None,
    };
    let exporters =
        control_planes.iter().map(|one| ("control-plane".to_owned(), one.admin())).collect();
    let binary = options.parts.our("host-agent")?;
    // Made here, so that what tasks write from now on is read from its beginning.
    let nomad = options.dir.join("nomad");
    std::fs::create_dir_all(nomad.join("alloc"))
        .map_err(LabError::io(format!("make the folder {}", nomad.display())))?;
    let wanted = AgentOptions {
        consul,
        exporters,
        nomad_data_dir: Some(nomad),
        journal: logs::journal().is_ok(),
        spans_to: options.spans_to,
    };
    let mut agent = HostAgent::start(&binary, &options.dir, &wanted)?;
    agent.wait_ready().await?;
    Ok(Some(agent))
}

/// Where control planes learn of services; in a Consul with access control, with a token of their own.
pub(super) async fn source(options: &WorldOptions, backend: &Backend) -> Result<Source, LabError> {
    match (backend, &options.rules) {
        (Backend::File(files), _) => Ok(Source::File(files.directory().to_owned())),
        (Backend::Consul(consul), None) => Ok(Source::Consul(consul.url(), None)),
        (Backend::Consul(consul), Some(rules)) => {
            let token = consul.create_token("control-plane", rules).await?;
            let file = secret(&options.dir, "control-plane-token", &token)?;
            Ok(Source::Consul(consul.url(), Some(file)))
        }
    }
}

/// Writes a token where a program of ours reads it.
pub(super) fn secret(dir: &Path, name: &str, token: &str) -> Result<PathBuf, LabError> {
    let file = dir.join(name);
    std::fs::write(&file, token).map_err(LabError::io(format!("write {}", file.display())))?;
    Ok(file)
}

/// How a Router faces its clients.
#[derive(Debug, Clone)]
pub struct RouterSetup {
    /// Its name in the lab.
    pub name: String,
    /// Its plain port.
    pub address: SocketAddr,
    /// Its encrypted port, with certificates in files.
    pub tls: Option<RouterTls>,
    /// Proxies before it that are trusted to name the client.
    pub trusted_hops: u32,
}

impl RouterSetup {
    /// Over plain HTTP, with nobody before it.
    pub fn plain(name: &str, address: SocketAddr) -> Self {
        Self { name: name.to_owned(), address, tls: None, trusted_hops: 0 }
    }
}

pub(super) async fn router(placer: &Placer, setup: &RouterSetup) -> Result<Envoy, LabError> {
    let RouterSetup { name, address, tls, trusted_hops } = setup;
    let admin = ports::reserve()?;
    let proxy = ProxySpec {
        role: ProxyRole::Router,
        system: None,
        id: name.clone(),
        cluster: "router".to_owned(),
        services: vec![format!("router={}", address.port())],
        ingress: None,
        egress: None,
        upstreams: None,
        bind: address.ip(),
        host: Some(IpAddr::V4(
            placer.network.as_ref().map_or(Ipv4Addr::LOCALHOST, Network::host_address),
        )),
        agent: placer.agent,
        spans: Vec::new(),
        stats: Some(ports::reserve()?),
        admin,
        xds: placer.xds.clone(),
        sotw: placer.sotw,
        tls: tls.clone(),
        trusted_hops: *trusted_hops,
    };
    let bootstrap = proxy.render(&placer.parts.our("meshctl")?).await?;
    let host = placer.network.as_ref().map(Network::host);
    Envoy::start(&placer.parts.envoy, name, &placer.dir, &bootstrap, admin, host)
}
