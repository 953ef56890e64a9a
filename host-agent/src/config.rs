//! The configuration file: its exact shape ([`RawConfig`]) and what the program works with ([`Config`]).
//!
//! In: one TOML file, and `CONSUL_HTTP_TOKEN` for the secret. Out: parsed values, or every problem with its key.
//! Each part of the agent has a table of its own, whose shape lies beside the part.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use consul::{ConsulConfig, RawConsul};
use serde::{Deserialize, Serialize};
use service::config::{ConfigError, Problems, load};
use service::logging::LogConfig;

use crate::instances::{InstancesConfig, RawInstances};
use crate::logs::config::{LogsConfig, RawLogs};
use crate::relay::config::{RawRelay, RelayConfig};
use crate::traces::config::{RawTraces, TracesConfig};

/// The file's exact shape; every key may be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// What the agent logs about itself, and how.
    pub log: LogConfig,
    /// Consul's agent on this host, which knows the instances.
    pub consul: RawConsul,
    /// Where this host's instances come from.
    pub instances: RawInstances,
    /// The relay of metrics.
    pub relay: RawRelay,
    /// The admin port: health, metrics, pages.
    pub admin: RawAdmin,
    /// What is read, what becomes of it, and where it goes.
    pub logs: RawLogs,
    /// Spans.
    pub traces: RawTraces,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAdmin {
    /// Address of health, metrics and pages; loopback only.
    pub listen: SocketAddr,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 18020)) }
    }
}

/// What the program works with.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is logged.
    pub log: LogConfig,
    /// Consul's agent on this host.
    pub consul: ConsulConfig,
    /// Where this host's instances come from.
    pub instances: InstancesConfig,
    /// The relay of metrics, if there is to be one.
    pub relay: Option<RelayConfig>,
    /// The admin port.
    pub admin: SocketAddr,
    /// Logs; without a destination none are read.
    pub logs: Arc<LogsConfig>,
    /// Spans, if they are taken.
    pub traces: Option<TracesConfig>,
}

impl Config {
    /// Reads the file, or takes the defaults without one.
    ///
    /// # Errors
    /// When the file cannot be read or used: every problem is listed.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let raw: RawConfig = load(file)?;
        let mut problems = Problems::default();
        let consul = raw.consul.resolve(&mut problems);
        let instances = raw.instances.resolve(&mut problems);
        let relay = raw.relay.resolve(&mut problems);
        let logs = Arc::new(raw.logs.resolve(&mut problems));
        let traces = raw.traces.resolve(&mut problems);
        let admin = raw.admin.listen;
        let config = Self { log: raw.log, consul, instances, relay, admin, logs, traces };
        problems.finish(file, Some(config))
    }
}
