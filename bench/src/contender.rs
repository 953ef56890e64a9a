//! The servers that are measured: Ayatori's control plane, and the plain one on go-control-plane.
//!
//! In: a [`Contender`] and a Consul. Out: a running process and its xDS address. Ends with its value.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use lab::parts::Parts;
use lab::ports;
use lab::process::{Process, Program};

use crate::consul::Consul;

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Contender {
    /// The control plane, as users build it.
    Ayatori,
    /// The plain server on go-control-plane, each change at once.
    Baseline,
    /// The same, changes gathered for 100 ms.
    Debounced,
}

impl Contender {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ayatori => "ayatori",
            Self::Baseline => "go-control-plane",
            Self::Debounced => "go-control-plane, debounce 100 ms",
        }
    }

    /// Whether it holds a connection to Consul for each service on plain HTTP, beyond Consul's default limit.
    pub const fn needs_connections(self) -> bool {
        !matches!(self, Self::Ayatori)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// Where proxies connect.
    pub xds: SocketAddr,
}

impl Server {
    /// Starts it under a name of its own; it may not be ready yet.
    ///
    /// # Errors
    /// It is not built, or cannot be started.
    pub fn start(
        contender: Contender,
        name: &str,
        dir: &Path,
        consul: &Consul,
        is_tls: bool,
    ) -> anyhow::Result<Self> {
        let listen =
            || Ok::<_, lab::LabError>(SocketAddr::from(([127, 0, 0, 1], ports::reserve()?)));
        let xds = listen()?;
        let url = consul.url(is_tls);
        let ca_file = is_tls.then(|| consul.ca_file.display().to_string());
        let program = match contender {
            Contender::Ayatori => {
                let config = dir.join(format!("{name}.toml"));
                let text =
                    configuration(&dir.join(name), &url, ca_file, [xds, listen()?, listen()?]);
                std::fs::write(&config, text)
                    .with_context(|| format!("cannot write {}", config.display()))?;
                Program::new(name, &ours("control-plane")?).args([
                    "run".to_owned(),
                    "--config".to_owned(),
                    config.display().to_string(),
                ])
            }
            Contender::Baseline | Contender::Debounced => {
                let debounce = if contender == Contender::Baseline { "0s" } else { "100ms" };
                let flags = [
                    format!("-listen={xds}"),
                    format!("-consul={url}"),
                    format!("-debounce={debounce}"),
                    format!("-ca-file={}", ca_file.unwrap_or_default()),
                ];
                Program::new(name, &baseline()?).args(flags)
            }
        };
        Ok(Self { process: Process::start(&program, dir)?, xds })
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.process.id()
    }

    /// An error with its last lines when it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        Ok(self.process.check()?)
    }
}

/// One of our own release binaries, beside this one.
///
/// # Errors
/// It is not built.
pub fn ours(name: &str) -> anyhow::Result<PathBuf> {
    Ok(Parts::find()?.our(name)?)
}

fn baseline() -> anyhow::Result<PathBuf> {
    let path = output_dir()?.join("baseline");
    anyhow::ensure!(path.exists(), "{} is missing: run `make bench-peers`", path.display());
    Ok(path)
}

/// `target/bench`.
///
/// # Errors
/// The running executable is not below `target`.
pub fn output_dir() -> anyhow::Result<PathBuf> {
    let executable = std::env::current_exe().context("cannot find the running executable")?;
    let target = executable.ancestors().find(|folder| folder.ends_with("target"));
    Ok(target.context("run `fleet` from the workspace's target folder")?.join("bench"))
}

fn configuration(
    data_dir: &Path,
    consul: &str,
    ca_file: Option<String>,
    [xds, admin, api]: [SocketAddr; 3],
) -> String {
    let ca_file = ca_file.map_or_else(String::new, |file| format!("ca_file = {file:?}\n"));
    format!(
        "registry = \"consul\"\ndata_dir = {data_dir:?}\n\n[consul]\naddress = {consul:?}\n{ca_file}\n\
         [xds]\nlisten = \"{xds}\"\n\n[admin]\nlisten = \"{admin}\"\n\n[api]\nlisten = \"{api}\"\n"
    )
}
