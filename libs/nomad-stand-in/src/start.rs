//! From the agent's flags and files to its settings.
//!
//! In: arguments of `nomad agent`. Out: [`Settings`], and the folder that a dev agent's data is in until it ends.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use tempfile::TempDir;

use crate::agent::http_address;
use crate::agent::settings::{Policy, Settings};
use crate::config::{self, AgentConfig, Flags};

/// Settings, and what must live as long as the agent.
pub(crate) struct Started {
    pub(crate) settings: Settings,
    /// Removed at the end.
    _data: Option<TempDir>,
}

/// Reads everything that an agent is told.
pub(crate) fn settings(args: &[String]) -> Result<Started, String> {
    let flags = Flags::parse(args)?;
    let config = AgentConfig::load(&flags)?;
    let host = config.http();
    let (host, _) = host.rsplit_once(':').ok_or_else(|| format!("{host:?} has no port"))?;
    let http = http_address(host, config.ports.http).map_err(|error| error.to_string())?;
    let data = match &config.data_dir {
        Some(_) => None,
        None => Some(temporary().map_err(|error| format!("cannot make a data folder: {error}"))?),
    };
    let data_dir = match (&config.data_dir, &data) {
        (Some(dir), _) => dir.clone(),
        (None, Some(dir)) => dir.path().to_owned(),
        (None, None) => return Err("data_dir is missing".to_owned()),
    };
    let max_kill_timeout = match &config.client.max_kill_timeout {
        Some(text) => nanos(text)?,
        None => Settings::default().max_kill_timeout,
    };
    let tokens = config.stand_in.tokens.iter().map(|(secret, policy)| {
        let policy = match policy {
            config::Policy::Management => Policy::Management,
            config::Policy::Read => Policy::Read,
            config::Policy::Dispatch => Policy::Dispatch,
        };
        (secret.clone(), policy)
    });
    if config.acl.enabled && config.stand_in.tokens.is_empty() {
        return Err(
            "acl is enabled but nobody has a token: -stand-in-token=SECRET[:POLICY]".to_owned()
        );
    }
    let settings = Settings {
        is_dev: config.data_dir.is_none() || flags.is_dev,
        data_dir: std::path::absolute(data_dir).map_err(|error| error.to_string())?,
        http,
        region: config.region.clone(),
        datacenter: config.datacenter.clone(),
        node_name: config.name.clone().unwrap_or_default(),
        node_class: config.client.node_class.clone(),
        node_meta: config.client.meta.clone(),
        nodes: config.stand_in.nodes,
        address: address(&config, http.ip())?,
        max_kill_timeout,
        has_raw_exec: config.has_driver("raw_exec"),
        images: config
            .stand_in
            .images
            .as_ref()
            .map(std::path::absolute)
            .transpose()
            .map_err(|error| error.to_string())?,
        consul: Some((format!("http://{}", config.consul.address), config.consul.token.clone())),
        tokens: if config.acl.enabled { tokens.collect() } else { Default::default() },
        lifeline: config.stand_in.lifeline,
        ..Settings::default()
    };
    Ok(Started { settings, _data: data })
}

/// A folder that goes with this process; those of agents that were killed go now.
fn temporary() -> std::io::Result<TempDir> {
    const PREFIX: &str = "nomad-stand-in-";
    for entry in std::fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
        let owner = owner.and_then(|(process, _)| process.parse::<u32>().ok());
        if owner.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            // Somebody else may be quicker, or own it.
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
    TempDir::with_prefix(format!("{PREFIX}{}.", std::process::id()))
}

/// Where the nodes' ports are: the interface that the client is told to use, else the address of the API, else the first
/// address of this host that is not loopback.
fn address(config: &AgentConfig, http: IpAddr) -> Result<IpAddr, String> {
    let name = config.client.network_interface.as_deref();
    if name.is_none() && !http.is_unspecified() {
        return Ok(http);
    }
    let interfaces =
        nix::ifaddrs::getifaddrs().map_err(|errno| format!("cannot list interfaces: {errno}"))?;
    let mut addresses = interfaces.filter_map(|one| {
        let address = IpAddr::V4(one.address?.as_sockaddr_in()?.ip());
        Some((one.interface_name, address))
    });
    match name {
        Some(name) => addresses
            .find(|(interface, _)| interface == name)
            .map(|(_, address)| address)
            .ok_or_else(|| format!("network_interface {name:?} has no IPv4 address here")),
        None => Ok(addresses
            .map(|(_, address)| address)
            .find(|address| !address.is_loopback())
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))),
    }
}

/// A duration such as `90s` or `1m30s`.
fn nanos(text: &str) -> Result<i64, String> {
    let duration = jobspec::duration::parse(text);
    duration
        .and_then(|own| i64::try_from(own.as_nanos()).ok())
        .ok_or_else(|| format!("{text:?} is no duration"))
}
