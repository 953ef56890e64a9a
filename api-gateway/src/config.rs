//! The configuration file: its exact shape ([`RawConfig`]) and what the program works with ([`Config`]).
//!
//! In: one TOML file, the addresses of the command line, and `CONSUL_HTTP_TOKEN` for the secret.
//! Out: parsed values, or every problem with its key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consul::{ConsulConfig, RawConsul};
use serde::{Deserialize, Serialize};
use service::config::{ConfigError, Problems, load};
use service::logging::LogConfig;

use crate::cli::Addresses;
use crate::schema;
use crate::transcode::{self, JsonOptions};

/// The longest of the file's times, in seconds.
const DAY_S: u64 = 86_400;
/// The largest size that gRPC can write before a message.
const LARGEST_BYTES: u64 = u32::MAX as u64;
/// The JSON reader gives up at the next level by itself.
const DEEPEST: u64 = 127;

/// The file's exact shape; every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// Where the gateway's Envoy reaches it; loopback only.
    pub listen: SocketAddr,
    /// The gateway Envoy's egress listener, through which services are called.
    pub egress: SocketAddr,
    /// The gateway Envoy's listener for the Router, through which calls are tried on the page; without it they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<SocketAddr>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Consul, which keeps the API keys' hashes.
    pub consul: RawConsul,
    /// Where the schemas of gRPC services come from.
    pub schemas: RawSchemas,
    /// How answers are written as JSON.
    pub json: JsonOptions,
    /// What a request may weigh.
    pub limits: RawLimits,
    /// The admin port: health, metrics, pages.
    pub admin: RawAdmin,
}

/// `[schemas]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSchemas {
    /// Folder of descriptor files, for routes that name one.
    pub directory: PathBuf,
    /// How often a service in use is asked for its schema again, in seconds.
    pub interval_s: u64,
    /// How long a schema stays alive after it was last seen, in seconds; longer than a rolling update's pauses.
    pub keep_s: u64,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawLimits {
    /// Largest body of a request, in bytes.
    pub body_bytes: usize,
    /// Largest message that a service may answer, in bytes.
    pub message_bytes: usize,
    /// How deep objects and lists of a body may nest; at most 127.
    pub depth: usize,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAdmin {
    /// Address of health, metrics and pages; loopback only.
    pub listen: SocketAddr,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 18010)),
            egress: SocketAddr::from(([127, 0, 0, 1], 18011)),
            ingress: None,
            log: LogConfig::default(),
            consul: RawConsul::default(),
            schemas: RawSchemas::default(),
            json: JsonOptions::default(),
            limits: RawLimits::default(),
            admin: RawAdmin::default(),
        }
    }
}

impl Default for RawSchemas {
    fn default() -> Self {
        Self { directory: PathBuf::from("/etc/ayatori/descriptors"), interval_s: 5, keep_s: 60 }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self { body_bytes: 4 * 1024 * 1024, message_bytes: 4 * 1024 * 1024, depth: 100 }
    }
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 18012)) }
    }
}

/// What the program works with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where Envoy reaches it.
    pub listen: SocketAddr,
    /// Envoy's egress listener.
    pub egress: SocketAddr,
    /// Envoy's listener for the Router.
    pub ingress: Option<SocketAddr>,
    /// What is logged.
    pub log: LogConfig,
    /// Where the keys are.
    pub consul: ConsulConfig,
    /// Folder of descriptor files.
    pub descriptors: PathBuf,
    /// When schemas are looked at.
    pub schemas: schema::Pace,
    /// How answers are written.
    pub json: JsonOptions,
    /// What a request may weigh.
    pub limits: transcode::Limits,
    /// The admin port.
    pub admin: SocketAddr,
}

impl Config {
    /// Reads the file (the defaults without one), puts the command line's addresses over it, and checks the whole.
    ///
    /// # Errors
    /// Every problem, with its key.
    pub fn read(file: Option<&Path>, addresses: &Addresses) -> Result<Self, ConfigError> {
        let mut raw: RawConfig = load(file)?;
        raw.listen = addresses.listen.unwrap_or(raw.listen);
        raw.egress = addresses.egress.unwrap_or(raw.egress);
        raw.ingress = addresses.ingress.or(raw.ingress);
        raw.admin.listen = addresses.admin.unwrap_or(raw.admin.listen);
        let mut problems = Problems::default();
        let config = resolve(raw, &mut problems);
        problems.finish(file, Some(config))
    }
}

fn resolve(raw: RawConfig, problems: &mut Problems) -> Config {
    // Whoever reaches the port is believed to be Envoy: what it says about a route is not checked again.
    for (key, address) in [("listen", raw.listen), ("admin.listen", raw.admin.listen)] {
        if !address.ip().is_loopback() {
            problems.add(
                key,
                format!("{address} is not on loopback: only the Envoy beside it may reach it"),
            );
        }
    }
    for (key, value, range) in [
        ("schemas.interval_s", raw.schemas.interval_s, 1..=DAY_S),
        ("schemas.keep_s", raw.schemas.keep_s, 0..=DAY_S),
        ("limits.body_bytes", raw.limits.body_bytes as u64, 1..=LARGEST_BYTES),
        ("limits.message_bytes", raw.limits.message_bytes as u64, 1..=LARGEST_BYTES),
        ("limits.depth", raw.limits.depth as u64, 1..=DEEPEST),
    ] {
        problems.within(key, value, range);
    }
    Config {
        listen: raw.listen,
        egress: raw.egress,
        ingress: raw.ingress,
        log: raw.log,
        consul: raw.consul.resolve(problems),
        descriptors: raw.schemas.directory,
        schemas: schema::Pace {
            reflection: Duration::from_secs(raw.schemas.interval_s),
            keep: Duration::from_secs(raw.schemas.keep_s),
            ..schema::Pace::default()
        },
        json: raw.json,
        limits: transcode::Limits {
            body_bytes: raw.limits.body_bytes,
            message_bytes: raw.limits.message_bytes,
            depth: raw.limits.depth,
        },
        admin: raw.admin.listen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_default_and_can_be_used() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        assert_eq!(load::<RawConfig>(Some(&example)).unwrap(), RawConfig::default());
        Config::read(Some(&example), &Addresses::default()).unwrap();
    }

    #[test]
    fn a_port_that_others_can_reach_is_refused() {
        let addresses =
            Addresses { listen: Some(SocketAddr::from(([0, 0, 0, 0], 1))), ..Addresses::default() };
        let error = Config::read(None, &addresses).unwrap_err().to_string();
        assert!(error.contains("listen: 0.0.0.0:1 is not on loopback"), "{error}");
    }
    #[test]
    fn times_and_sizes_that_cannot_be_kept_are_named_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gateway.toml");
        let text = "[schemas]\ninterval_s = 0\nkeep_s = 9000000000000000000\n\
                    [limits]\nbody_bytes = 0\nmessage_bytes = 4294967296\ndepth = 128\n";
        std::fs::write(&file, text).unwrap();
        let error = Config::read(Some(&file), &Addresses::default()).unwrap_err().to_string();
        let (_, problems) = error.split_once('\n').unwrap();
        assert_eq!(
            problems.lines().map(str::trim).collect::<Vec<_>>(),
            [
                "schemas.interval_s: 0 is not between 1 and 86400",
                "schemas.keep_s: 9000000000000000000 is not between 0 and 86400",
                "limits.body_bytes: 0 is not between 1 and 4294967295",
                "limits.message_bytes: 4294967296 is not between 1 and 4294967295",
                "limits.depth: 128 is not between 1 and 127",
            ]
        );
    }
}
