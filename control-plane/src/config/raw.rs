//! The configuration file's exact shape, and its defaults.
//!
//! `docs/config.md` is generated from here.

use std::net::SocketAddr;
use std::path::PathBuf;

use consul::RawConsul;
use nomad::RawNomad;
use serde::{Deserialize, Serialize};
use service::logging::LogConfig;

/// The file's exact shape; every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// Where registrations come from: `consul`, `nomad` (its own services), or `file` (a directory of YAML, which needs nothing else).
    pub registry: RegistryKind,
    /// Folder of the last good state, which serves after a restart while no registry answers. Empty: none is kept.
    pub data_dir: PathBuf,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Consul, when it is the registry.
    pub consul: RawConsul,
    /// Nomad, when it is the registry.
    pub nomad: RawNomad,
    /// The directory, when it is the registry; with Nomad that of the System documents, unless they are its variables.
    pub file: RawFile,
    /// When the catalog is served, and how changes are gathered.
    pub catalog: RawCatalog,
    /// The xDS port.
    pub xds: RawXds,
    /// The admin port: health, metrics, debug pages.
    pub admin: RawAdmin,
    /// The read-only JSON API.
    pub api: RawApi,
}

/// Where registrations come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegistryKind {
    /// Consul.
    Consul,
    /// Nomad's own services, and a directory of System documents.
    Nomad,
    /// A directory of YAML files.
    File,
}

/// `[file]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFile {
    /// The directory.
    pub directory: PathBuf,
    /// How often it is read, in milliseconds.
    pub interval_ms: u64,
}

/// `[catalog]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawCatalog {
    /// The first change leaves at once; what follows within this many milliseconds leaves together.
    pub coalesce_ms: u64,
    /// After a start, the last good state serves when the registry was not read completely after this many milliseconds.
    pub last_good_after_ms: u64,
    /// An incomplete catalog serves after this many seconds, when there is no last good state.
    pub deadline_s: u64,
}

/// `[xds]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawXds {
    /// Where proxies connect. Sidecars in network namespaces reach the host's address, not its loopback.
    pub listen: SocketAddr,
    /// Must be `true` to listen beyond loopback without TLS: whoever reaches the port reads the mesh.
    pub allow_plaintext: bool,
    /// PEM file of the certificate shown to proxies.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
    /// PEM file of the authorities that sign proxies' certificates; with it proxies must show one.
    pub client_ca_file: Option<PathBuf>,
    /// A stream ends after this many minutes and up to as long again, so that proxies spread over replicas.
    pub stream_age_min: u64,
    /// When the process stops, streams end within this many seconds, spread evenly.
    pub drain_s: u64,
    /// New streams that are set up at a time; more wait, so that those that are there hear of changes meanwhile.
    pub admit_at_once: usize,
    /// A new stream that has waited this many seconds is refused with UNAVAILABLE: its proxy keeps what it has and comes back.
    pub admission_wait_s: u64,
    /// A sidecar that reaches more services than this gets their clusters as its requests need them (delta only).
    pub on_demand_above: usize,
}

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAdmin {
    /// A loopback address.
    pub listen: SocketAddr,
}

/// `[api]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawApi {
    /// Where `meshctl` asks. Beyond loopback a certificate and a token are needed.
    pub listen: SocketAddr,
    /// PEM file of the certificate shown to callers.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
    /// File with the bearer token that callers must show.
    pub token_file: Option<PathBuf>,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            registry: RegistryKind::Consul,
            data_dir: PathBuf::from("/var/lib/ayatori/control-plane"),
            log: LogConfig::default(),
            consul: RawConsul::default(),
            nomad: RawNomad::default(),
            file: RawFile::default(),
            catalog: RawCatalog::default(),
            xds: RawXds::default(),
            admin: RawAdmin::default(),
            api: RawApi::default(),
        }
    }
}

impl Default for RawFile {
    fn default() -> Self {
        Self { directory: PathBuf::from("/etc/ayatori/registry"), interval_ms: 250 }
    }
}

impl Default for RawCatalog {
    fn default() -> Self {
        Self { coalesce_ms: 5, last_good_after_ms: 3_000, deadline_s: 30 }
    }
}

impl Default for RawXds {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 18000)),
            allow_plaintext: false,
            cert_file: None,
            key_file: None,
            client_ca_file: None,
            stream_age_min: 30,
            drain_s: 8,
            admit_at_once: 16,
            admission_wait_s: 10,
            on_demand_above: 500,
        }
    }
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 18001)) }
    }
}

impl Default for RawApi {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 18002)),
            cert_file: None,
            key_file: None,
            token_file: None,
        }
    }
}
