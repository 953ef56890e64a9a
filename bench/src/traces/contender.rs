//! Who is measured, and how each is started.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use lab::parts::{Parts, real_part};
use lab::ports;
use lab::process::{Process, Program};
use tokio::net::TcpStream;

use crate::contender::output_dir;
use crate::usage;

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Agent {
    /// With `fdatasync` for each group of requests, as it comes.
    Ours,
    /// What is acknowledged outlives the process only: `survive_power_loss = false`.
    OursWithoutSync,
    /// rotel: no disk.
    Rotel,
    /// The OpenTelemetry collector (`bench/otelcol/`): no disk.
    Collector,
}

impl Agent {
    pub(super) fn all() -> Vec<Self> {
        let rotel = real_part("rotel").map(|_| Self::Rotel);
        let collector = collector().ok().filter(|binary| binary.exists()).map(|_| Self::Collector);
        [Self::Ours, Self::OursWithoutSync].into_iter().chain(rotel).chain(collector).collect()
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "synchronised disk",
            Self::OursWithoutSync => "disk, not synchronised",
            Self::Rotel => "rotel",
            Self::Collector => "OpenTelemetry collector",
        }
    }

    pub(super) const fn is_peer(self) -> bool {
        matches!(self, Self::Rotel | Self::Collector)
    }
}

/// A running contender.
#[derive(Debug)]
pub(super) struct Running {
    process: Process,
    address: SocketAddr,
}

impl Running {
    pub(super) async fn start(
        agent: Agent,
        sink: SocketAddr,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::reserve()?));
        let (http, admin) = (ports::reserve()?, ports::reserve()?);
        let program = match agent {
            Agent::Rotel => {
                let binary = real_part("rotel").context("there is no rotel; run `make setup`")?;
                Program::new("rotel", &binary).args([
                    "start".to_owned(),
                    format!("--otlp-grpc-endpoint={address}"),
                    format!("--otlp-http-endpoint=127.0.0.1:{http}"),
                    "--exporter=otlp".to_owned(),
                    "--otlp-exporter-protocol=grpc".to_owned(),
                    "--otlp-exporter-compression=gzip".to_owned(),
                    format!("--otlp-exporter-endpoint=http://{sink}"),
                    "--batch-max-size=8192".to_owned(),
                    "--batch-timeout=200ms".to_owned(),
                ])
            }
            Agent::Collector => {
                let config = folder.join("collector.yaml");
                std::fs::write(&config, collector_config(address, sink))?;
                Program::new("otelcol", &collector()?)
                    .args([format!("--config={}", config.display())])
            }
            Agent::Ours | Agent::OursWithoutSync => {
                let name = if agent == Agent::Ours { "ours" } else { "ours-without-sync" };
                let folder = folder.join(name);
                std::fs::create_dir_all(&folder)?;
                let text = format!(
                    "[instances]\nconsul = false\nnode = \"bench\"\ndatacenter = \"bench\"\n\
                     [admin]\nlisten = \"127.0.0.1:{admin}\"\n[traces]\nlisten = [\"{address}\"]\n\
                     [traces.queue]\nfolder = {:?}\nsurvive_power_loss = {}\n\
                     [[traces.back_ends]]\nname = \"sink\"\nurl = \"grpc://{sink}\"\nbatch_bytes = 4000000\n",
                    folder.join("queue"),
                    agent == Agent::Ours,
                );
                let config = folder.join("agent.toml");
                std::fs::write(&config, text)?;
                Program::new(name, &Parts::find()?.our("host-agent")?)
                    .args(["run".to_owned(), format!("--config={}", config.display())])
            }
        };
        let mut process = Process::start(&program, folder)?;
        let listens = async || TcpStream::connect(address).await.map(drop);
        process.until("the contender listens", Duration::from_secs(20), listens).await?;
        Ok(Self { process, address })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn cpu(&self) -> anyhow::Result<f64> {
        usage::cpu_seconds(self.process.id())
    }

    pub(super) fn resident_kb(&self) -> anyhow::Result<f64> {
        usage::resident_kb(self.process.id())
    }

    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.stop(Duration::from_secs(12)).await?;
        Ok(())
    }
}

/// Where `make bench-traces` builds the collector, where there is Go.
fn collector() -> anyhow::Result<PathBuf> {
    Ok(output_dir()?.join("otelcol"))
}

/// Batches and compression as the others have them; it keeps up to a thousand batches in memory.
fn collector_config(address: SocketAddr, sink: SocketAddr) -> String {
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"{address}\", max_recv_msg_size_mib: 16}}}}}}}}\n\
         processors: {{batch: {{send_batch_size: 8192, send_batch_max_size: 8192, timeout: 200ms}}}}\n\
         exporters: {{otlp_grpc: {{endpoint: \"{sink}\", compression: gzip, tls: {{insecure: true}}}}}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: warn}}}}\n  \
         pipelines: {{traces: {{receivers: [otlp], processors: [batch], exporters: [otlp_grpc]}}}}\n"
    )
}
