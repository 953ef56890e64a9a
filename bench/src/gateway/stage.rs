//! Everything that runs: the service, Consul with a key, the converters, one Envoy for all of them.
//!
//! In: the binaries. Out: a [`Stage`] that is asked and looked at. Ends with its value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use contract::keys::KeyFolder;
use http::Method;
use lab::consul::{Consul, ConsulOptions};
use lab::envoy::Envoy;
use lab::process::{Process, Program};
use lab::{parts, ports, wait};

use super::envoy::{KEY_HEADER, Ports, bootstrap};
use super::load::{Ask, once};
use super::way::{Alone, Way};
use super::{peer, token};
use crate::contender::ours;
use crate::echo::{PLAIN, proto::DESCRIPTORS};
use crate::usage::cpu_seconds;

const READY: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(5);
const FOLDER: &str = "mesh/keys/bench";

/// See the module.
#[derive(Debug)]
pub(super) struct Stage {
    ports: Ports,
    alone: Alone,
    envoy: Envoy,
    service: Process,
    app: Process,
    app_alone: Process,
    /// grpc-gateway behind Envoy, and alone; `None` without Go.
    peers: Option<[Process; 2]>,
    consul: Consul,
    token: String,
    key: String,
    _dir: tempfile::TempDir,
}

/// What a request used, in seconds of CPU since the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// The converter's process; Envoy's for its own transcoder.
    pub converter: f64,
    /// The converter's and Envoy's.
    pub all: f64,
}

/// How a request proves who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proven {
    /// Not at all.
    Open,
    /// By a token.
    Token,
    /// By an API key.
    Key,
}

impl Stage {
    /// Starts everything, and waits until each way answers.
    ///
    /// # Errors
    /// A part is missing, or does not start.
    pub(super) async fn raise() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a folder")?;
        let (ports, alone) = reserve()?;
        let part = |name: &str| {
            parts::real_part(name)
                .with_context(|| format!("{name} is missing: run `make setup-demo`"))
        };
        let consul = Consul::start(&part("consul")?, dir.path(), &ConsulOptions::default()).await?;
        let (key, record) = token::key()?;
        let folder: KeyFolder = FOLDER.parse()?;
        let path = format!("/v1/kv/{}", folder.record(key.id()));
        consul.call(Method::PUT, &path, Some(serde_json::to_value(record)?)).await?;

        let service = start(&dir, "echo", &ours("echo")?, vec![local(ports.service)])?;
        let app = start_app(&dir, "api-gateway", &consul, ports.app, ports.egress)?;
        let app_alone = start_app(&dir, "api-gateway-alone", &consul, alone.app, ports.service)?;
        let peers = peer::build().await?.map(|binary| start_peers(&dir, &binary, &ports, alone));
        let (token, jwks) = token::token()?;
        let descriptors = dir.path().join("descriptors.bin");
        std::fs::write(&descriptors, DESCRIPTORS).context("cannot write the descriptors")?;
        let bootstrap = bootstrap(&ports, &jwks, &folder, &descriptors.display().to_string())?;
        let envoy =
            Envoy::start(&part("envoy")?, "envoy", dir.path(), &bootstrap, ports.admin, None)?;
        let peers = peers.transpose()?;
        let key = key.reveal();
        let mut stage = Self {
            ports,
            alone,
            envoy,
            service,
            app,
            app_alone,
            peers,
            consul,
            token,
            key,
            _dir: dir,
        };
        stage.envoy.wait_live().await?;
        stage.wait_ready().await?;
        Ok(stage)
    }

    /// Each way has answered once.
    async fn wait_ready(&mut self) -> anyhow::Result<()> {
        let mut asks: Vec<Ask> = self.ways().into_iter().map(|way| self.say(way, 10)).collect();
        asks.extend([Proven::Open, Proven::Token, Proven::Key].map(|proven| self.plain(proven)));
        for ask in asks {
            let what = format!("{} at {} answers", ask.path, ask.address);
            wait::until(&what, READY, async || {
                once(&ask).await.map(drop).map_err(|error| format!("{error:#}"))
            })
            .await?;
        }
        Ok(())
    }

    /// The ways that this machine has.
    pub(super) fn ways(&self) -> Vec<Way> {
        let all =
            [Way::Ours, Way::Transcoder, Way::GrpcGateway, Way::OursAlone, Way::GrpcGatewayAlone];
        all.into_iter().filter(|way| self.peers.is_some() || !way.needs_go()).collect()
    }

    /// A unary call.
    pub(super) fn say(&self, way: Way, payload: usize) -> Ask {
        way.say(&self.ports, self.alone, payload)
    }

    /// A stream.
    pub(super) fn count(&self, way: Way, count: u32) -> Ask {
        way.count(&self.ports, self.alone, count)
    }

    /// A request that nobody converts.
    pub(super) fn plain(&self, proven: Proven) -> Ask {
        let proof = match proven {
            Proven::Open => None,
            Proven::Token => Some(("authorization", format!("Bearer {}", self.token))),
            Proven::Key => Some((KEY_HEADER, self.key.clone())),
        };
        Ask {
            address: SocketAddr::from(([127, 0, 0, 1], self.ports.auth)),
            method: Method::GET,
            path: PLAIN.to_owned(),
            headers: proof.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: bytes::Bytes::new(),
        }
    }

    /// What a way has used so far.
    ///
    /// # Errors
    /// One of its processes has ended.
    pub(super) fn usage(&mut self, way: Way) -> anyhow::Result<Usage> {
        let envoy = cpu_seconds(self.envoy.process().id())?;
        let converter = match (way, &self.peers) {
            (Way::Ours, _) => cpu_seconds(self.app.id())?,
            (Way::OursAlone, _) => cpu_seconds(self.app_alone.id())?,
            (Way::GrpcGateway, Some([peer, _])) | (Way::GrpcGatewayAlone, Some([_, peer])) => {
                cpu_seconds(peer.id())?
            }
            (Way::Transcoder | Way::GrpcGateway | Way::GrpcGatewayAlone, _) => {
                return Ok(Usage { converter: envoy, all: envoy });
            }
        };
        let all = if way.is_alone() { converter } else { converter + envoy };
        Ok(Usage { converter, all })
    }

    /// Ends everything; an error when something had ended before.
    ///
    /// # Errors
    /// Something had ended, or does not end.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        let peers = self.peers.iter_mut().flatten();
        for process in
            [&mut self.app, &mut self.app_alone, &mut self.service].into_iter().chain(peers)
        {
            process.check()?;
            process.stop(GRACE).await?;
        }
        self.envoy.stop().await?;
        Ok(self.consul.stop().await?)
    }
}

fn reserve() -> anyhow::Result<(Ports, Alone)> {
    let ports = Ports {
        admin: ports::reserve()?,
        auth: ports::reserve()?,
        ours: ports::reserve()?,
        transcoder: ports::reserve()?,
        peer: ports::reserve()?,
        egress: ports::reserve()?,
        app: ports::reserve()?,
        peer_app: ports::reserve()?,
        service: ports::reserve()?,
    };
    Ok((ports, Alone { app: ports::reserve()?, peer_app: ports::reserve()? }))
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn start(
    dir: &tempfile::TempDir,
    name: &str,
    binary: &Path,
    args: Vec<String>,
) -> anyhow::Result<Process> {
    Ok(Process::start(&Program::new(name, binary).args(args), dir.path())?)
}

fn start_app(
    dir: &tempfile::TempDir,
    name: &str,
    consul: &Consul,
    listen: u16,
    egress: u16,
) -> anyhow::Result<Process> {
    let config: PathBuf = dir.path().join(format!("{name}.toml"));
    let text = format!(
        "listen = \"{}\"\negress = \"{}\"\n\n[consul]\naddress = \"{}\"\n\n[admin]\nlisten = \"{}\"\n",
        local(listen),
        local(egress),
        consul.url(),
        local(ports::reserve()?),
    );
    std::fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let args = ["run", "--config", &config.display().to_string()].map(str::to_owned).to_vec();
    start(dir, name, &ours("api-gateway")?, args)
}

fn start_peers(
    dir: &tempfile::TempDir,
    binary: &Path,
    ports: &Ports,
    alone: Alone,
) -> anyhow::Result<[Process; 2]> {
    let peer = |name, listen, service| {
        let args =
            vec![format!("-listen={}", local(listen)), format!("-service={}", local(service))];
        start(dir, name, binary, args)
    };
    Ok([
        peer("grpc-gateway", ports.peer_app, ports.egress)?,
        peer("grpc-gateway-alone", alone.peer_app, ports.service)?,
    ])
}
