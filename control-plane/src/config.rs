//! The configuration file: its exact shape ([`RawConfig`]) and what the program works with ([`Config`]).
//!
//! In: one TOML file, and `CONSUL_HTTP_TOKEN` or `NOMAD_TOKEN` for the secret. Out: parsed values, or every problem with its key.
//! `docs/config.md` is generated from here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consul::{ConsulConfig, RawConsul};
use nomad::{NomadConfig, RawNomad};
use serde::{Deserialize, Serialize};
use service::config::{ConfigError, Problems, load};
use service::logging::LogConfig;

use crate::catalog::gate::GateTimes;
use crate::registry::consul::ConsulRegistryConfig;
use crate::registry::file::{FileRegistry, Holds};
use crate::registry::nomad::NomadRegistryConfig;

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

/// What the program works with.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is logged.
    pub log: LogConfig,
    /// Where registrations come from.
    pub registry: RegistryConfig,
    /// Folder of the last good state.
    pub data_dir: Option<PathBuf>,
    /// When the catalog is served.
    pub gate: GateTimes,
    /// How changes are gathered.
    pub coalesce: Duration,
    /// The xDS port.
    pub xds: XdsListener,
    /// The admin port.
    pub admin: SocketAddr,
    /// The API port.
    pub api: ApiListener,
}

/// Where registrations come from.
#[derive(Debug, Clone)]
pub enum RegistryConfig {
    /// Consul.
    Consul(Box<ConsulConfig>, ConsulRegistryConfig),
    /// Nomad, and where the documents are, if not in it.
    Nomad(Box<NomadConfig>, NomadRegistryConfig, Option<FileRegistry>),
    /// A directory.
    File(FileRegistry),
}

/// Where and how xDS is served.
#[derive(Debug, Clone)]
pub struct XdsListener {
    /// Address.
    pub listen: SocketAddr,
    /// Certificate and key, and the authorities of proxies' certificates.
    pub tls: Option<TlsFiles>,
    /// Age after which streams end.
    pub stream_age: Duration,
    /// Time over which streams end when the process stops.
    pub drain: Duration,
    /// New streams that are set up at a time.
    pub admit_at_once: usize,
    /// How long a new stream waits to be set up.
    pub admission_wait: Duration,
    /// Sidecars that reach more targets ask for clusters as they need them.
    pub on_demand_above: usize,
}

/// Where and to whom the API answers.
#[derive(Debug, Clone)]
pub struct ApiListener {
    /// Address.
    pub listen: SocketAddr,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// What callers must show.
    pub token: Option<service::secret::Secret>,
}

/// PEM files.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who signs clients' certificates.
    pub client_ca: Option<PathBuf>,
}

impl Config {
    /// Reads the file (the defaults without one) and checks it.
    ///
    /// # Errors
    /// Every problem, with its key.
    pub fn read(file: Option<&Path>) -> Result<Self, ConfigError> {
        let raw: RawConfig = load(file)?;
        let mut problems = Problems::default();
        let config = resolve(raw, &mut problems);
        problems.finish(file, Some(config))
    }
}

fn resolve(raw: RawConfig, problems: &mut Problems) -> Config {
    let registry = match raw.registry {
        RegistryKind::Consul => {
            let consul = raw.consul.resolve(problems);
            RegistryConfig::Consul(Box::new(consul), ConsulRegistryConfig::default())
        }
        RegistryKind::Nomad => {
            let watch = NomadRegistryConfig {
                namespaces: namespaces(&raw.nomad.namespace, problems),
                documents: raw.nomad.documents_namespace.clone(),
                ..NomadRegistryConfig::default()
            };
            let nomad = raw.nomad.resolve(problems);
            let documents =
                watch.documents.is_none().then(|| directory(raw.file, Holds::Documents, problems));
            RegistryConfig::Nomad(Box::new(nomad), watch, documents)
        }
        RegistryKind::File => {
            RegistryConfig::File(directory(raw.file, Holds::Everything, problems))
        }
    };
    if let (Some(file), None) = (&raw.xds.client_ca_file, &raw.xds.cert_file) {
        problems.add(
            "xds.client_ca_file",
            format!(
                "{} needs xds.cert_file and xds.key_file: without TLS no proxy shows a certificate",
                file.display()
            ),
        );
    }
    let client_ca = problems.readable("xds.client_ca_file", raw.xds.client_ca_file);
    let tls = problems
        .certificate("xds", raw.xds.cert_file, raw.xds.key_file)
        .map(|(certificate, key)| TlsFiles { certificate, key, client_ca });
    if tls.is_none() && !raw.xds.listen.ip().is_loopback() && !raw.xds.allow_plaintext {
        problems.add(
            "xds.listen",
            format!("{} is reachable from elsewhere without TLS: set xds.cert_file and xds.key_file, or xds.allow_plaintext = true", raw.xds.listen),
        );
    }
    let api = resolve_api(raw.api, problems);
    if !raw.admin.listen.ip().is_loopback() {
        problems.add("admin.listen", "the admin port answers on loopback only");
    }
    Config {
        log: raw.log,
        registry,
        data_dir: Some(raw.data_dir).filter(|folder| !folder.as_os_str().is_empty()),
        gate: GateTimes {
            last_good_after_ms: raw.catalog.last_good_after_ms,
            deadline_ms: raw.catalog.deadline_s.saturating_mul(1_000),
        },
        coalesce: Duration::from_millis(raw.catalog.coalesce_ms),
        xds: XdsListener {
            listen: raw.xds.listen,
            tls,
            stream_age: Duration::from_secs(raw.xds.stream_age_min.max(1).saturating_mul(60)),
            drain: Duration::from_secs(raw.xds.drain_s),
            admit_at_once: raw.xds.admit_at_once.max(1),
            admission_wait: Duration::from_secs(raw.xds.admission_wait_s),
            on_demand_above: raw.xds.on_demand_above,
        },
        admin: raw.admin.listen,
        api,
    }
}

fn directory(raw: RawFile, holds: Holds, problems: &mut Problems) -> FileRegistry {
    if !raw.directory.is_dir() {
        problems.add("file.directory", format!("{} is not a directory", raw.directory.display()));
    }
    let interval = Duration::from_millis(raw.interval_ms.max(10));
    FileRegistry { directory: raw.directory, interval, holds }
}

/// One or several, separated by commas; `*` stands alone.
fn namespaces(written: &str, problems: &mut Problems) -> Vec<String> {
    let names: BTreeSet<&str> =
        written.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if names.is_empty() || (names.contains("*") && names.len() > 1) {
        problems.add(
            "nomad.namespace",
            format!("{written:?} is neither a list of namespaces nor \"*\" alone"),
        );
    }
    names.into_iter().map(str::to_owned).collect()
}

fn resolve_api(raw: RawApi, problems: &mut Problems) -> ApiListener {
    let tls = problems
        .certificate("api", raw.cert_file, raw.key_file)
        .map(|(certificate, key)| TlsFiles { certificate, key, client_ca: None });
    let token = raw.token_file.and_then(|file| {
        problems.take("api.token_file", service::secret::Secret::from_file(&file))
    });
    if !raw.listen.ip().is_loopback() && (tls.is_none() || token.is_none()) {
        problems.add(
            "api.listen",
            format!("{} is reachable from elsewhere: set api.cert_file, api.key_file and api.token_file, or listen on 127.0.0.1", raw.listen),
        );
    }
    ApiListener { listen: raw.listen, tls, token }
}
