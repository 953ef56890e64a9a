//! A control plane: the built binary with a configuration of its own, on ports that stay the same for its whole life.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::daemon::Daemon;
use crate::http::Client;
use crate::netns::NetNs;
use crate::process::Program;
use crate::{LabError, ports};

const READY_DEADLINE: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Where a control plane learns of services.
#[derive(Debug, Clone)]
pub enum Source {
    /// Consul at this address, with the token in this file.
    Consul(String, Option<PathBuf>),
    /// Nomad at this address, without Consul; System documents from a directory.
    Nomad(String, PathBuf),
    /// A directory of YAML files.
    File(PathBuf),
}

/// A control plane, running or stopped, that can be harmed.
pub type ControlPlane = Daemon<Plane>;

/// What a control plane offers: its three ports.
#[derive(Debug)]
pub struct Plane {
    xds: SocketAddr,
    admin: SocketAddr,
    api: SocketAddr,
    client: Client,
}

impl ControlPlane {
    /// Starts `binary` under a name of its own; it may not be ready yet.
    ///
    /// With `host`, xDS listens on that address inside that namespace, where proxies of other namespaces reach it.
    /// Sidecars that reach more than `on_demand_above` services ask for clusters as they need them.
    pub fn start(
        binary: &Path,
        name: &str,
        dir: &Path,
        source: &Source,
        host: Option<(&NetNs, Ipv4Addr)>,
        on_demand_above: Option<usize>,
    ) -> Result<Self, LabError> {
        let dir = dir.join(name);
        std::fs::create_dir_all(&dir)
            .map_err(LabError::io(format!("make the folder {}", dir.display())))?;
        let ip = host.map_or(Ipv4Addr::LOCALHOST, |(_, ip)| ip);
        let listen =
            |ip: Ipv4Addr| Ok::<_, LabError>(SocketAddr::new(IpAddr::V4(ip), ports::reserve()?));
        let (xds, admin, api) =
            (listen(ip)?, listen(Ipv4Addr::LOCALHOST)?, listen(Ipv4Addr::LOCALHOST)?);
        let config = dir.join("control-plane.toml");
        std::fs::write(&config, configuration(&dir, source, [xds, admin, api], on_demand_above))
            .map_err(LabError::io(format!("write {}", config.display())))?;
        let netns = host.map(|(netns, _)| netns);
        let program = Program::new(name, binary)
            .args(["run", "--config"])
            .args([config.display().to_string()])
            .in_netns(netns);
        let plane = Plane { xds, admin, api, client: Client::inside(netns) };
        let mut own = Self::new(program, &dir, STOP_GRACE, plane);
        own.launch()?;
        Ok(own)
    }

    /// Starts it after a stop or a kill, on the same ports, with what it left on disk; it may not be ready yet.
    pub fn start_again(&mut self) -> Result<(), LabError> {
        self.launch()
    }

    /// Waits until `/readyz` says so.
    pub async fn wait_ready(&mut self) -> Result<(), LabError> {
        let what = format!("{} is ready", self.program().name);
        self.until(&what, READY_DEADLINE, Plane::is_ready).await
    }
}

impl Plane {
    /// Where proxies connect.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// Its admin port.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its API.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    async fn is_ready(&self) -> Result<(), String> {
        match self.client.get(self.admin, "localhost", "/readyz").await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.text().trim())),
            Err(error) => Err(crate::chain(&error)),
        }
    }

    /// Reads a path of its JSON API.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, LabError> {
        let answer =
            self.client.expect(self.api, http::Method::GET, path, bytes::Bytes::new()).await?;
        serde_json::from_slice(&answer.body).map_err(|error| LabError::Request {
            request: format!("GET http://{}{path}", self.api),
            source: Box::new(error),
        })
    }

    /// Its metrics, as Prometheus reads them.
    pub async fn metrics(&self) -> Result<String, LabError> {
        let body = bytes::Bytes::new();
        Ok(self.client.expect(self.admin, http::Method::GET, "/metrics", body).await?.text())
    }
}

fn configuration(
    dir: &Path,
    source: &Source,
    [xds, admin, api]: [SocketAddr; 3],
    on_demand_above: Option<usize>,
) -> String {
    let (registry, section) = match source {
        Source::Consul(address, None) => ("consul", format!("[consul]\naddress = {address:?}")),
        Source::Consul(address, Some(token)) => {
            ("consul", format!("[consul]\naddress = {address:?}\ntoken_file = {token:?}"))
        }
        Source::Nomad(address, directory) => (
            "nomad",
            format!("[nomad]\naddress = {address:?}\n\n[file]\ndirectory = {directory:?}"),
        ),
        Source::File(directory) => ("file", format!("[file]\ndirectory = {directory:?}")),
    };
    // Namespaces of ours are a network of ours.
    let plaintext = !xds.ip().is_loopback();
    let above =
        on_demand_above.map_or_else(String::new, |above| format!("on_demand_above = {above}\n"));
    format!(
        "registry = \"{registry}\"\ndata_dir = {dir:?}\n\n{section}\n\n\
         [xds]\nlisten = \"{xds}\"\nallow_plaintext = {plaintext}\n{above}\n[admin]\nlisten = \"{admin}\"\n\n[api]\nlisten = \"{api}\"\n"
    )
}
