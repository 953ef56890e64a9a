//! The configuration: its file's exact shape (`raw.rs`) and what the program works with ([`Config`]).
//!
//! In: one TOML file, and `CONSUL_HTTP_TOKEN` or `NOMAD_TOKEN` for the secret. Out: parsed values, or every problem with its key.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use consul::ConsulConfig;
use nomad::NomadConfig;
use service::config::{ConfigError, Problems, load};
use service::logging::LogConfig;

use crate::catalog::gate::GateTimes;
use crate::registry::consul::ConsulRegistryConfig;
use crate::registry::file::{FileRegistry, Holds};
use crate::registry::nomad::NomadRegistryConfig;

mod raw;

pub use raw::{RawAdmin, RawApi, RawCatalog, RawConfig, RawFile, RawXds, RegistryKind};

/// The longest of the file's times but for a stream's age, in seconds.
const DAY_S: u64 = 86_400;
/// The longest pause between two looks, in milliseconds.
const MINUTE_MS: u64 = 60_000;
/// Streams that are set up at a time.
const MOST_AT_ONCE: u64 = 10_000;

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
    check_numbers(&raw, problems);
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
            stream_age: Duration::from_secs(raw.xds.stream_age_min.saturating_mul(60)),
            drain: Duration::from_secs(raw.xds.drain_s),
            admit_at_once: raw.xds.admit_at_once,
            admission_wait: Duration::from_secs(raw.xds.admission_wait_s),
            on_demand_above: raw.xds.on_demand_above,
        },
        admin: raw.admin.listen,
        api,
    }
}

fn check_numbers(raw: &RawConfig, problems: &mut Problems) {
    let RawConfig { catalog, xds, .. } = raw;
    for (key, value, range) in [
        ("catalog.coalesce_ms", catalog.coalesce_ms, 0..=MINUTE_MS),
        ("catalog.last_good_after_ms", catalog.last_good_after_ms, 0..=DAY_S * 1_000),
        ("catalog.deadline_s", catalog.deadline_s, 0..=DAY_S),
        ("xds.stream_age_min", xds.stream_age_min, 1..=7 * DAY_S / 60),
        ("xds.drain_s", xds.drain_s, 0..=DAY_S),
        ("xds.admit_at_once", xds.admit_at_once as u64, 1..=MOST_AT_ONCE),
        ("xds.admission_wait_s", xds.admission_wait_s, 0..=DAY_S),
        ("file.interval_ms", raw.file.interval_ms, 10..=MINUTE_MS),
    ] {
        problems.within(key, value, range);
    }
}

fn directory(raw: RawFile, holds: Holds, problems: &mut Problems) -> FileRegistry {
    if !raw.directory.is_dir() {
        problems.add("file.directory", format!("{} is not a directory", raw.directory.display()));
    }
    let interval = Duration::from_millis(raw.interval_ms);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_cannot_be_kept_are_named_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("control-plane.toml");
        let text = "[catalog]\ncoalesce_ms = 60001\nlast_good_after_ms = 9000000000000000000\ndeadline_s = 86401\n\
                    [xds]\nstream_age_min = 0\ndrain_s = 9000000000000000000\nadmit_at_once = 0\n\
                    admission_wait_s = 86401\n[file]\ninterval_ms = 0\n";
        std::fs::write(&file, text).unwrap();
        let error = Config::read(Some(&file)).unwrap_err().to_string();
        let (_, problems) = error.split_once('\n').unwrap();
        assert_eq!(
            problems.lines().map(str::trim).collect::<Vec<_>>(),
            [
                "catalog.coalesce_ms: 60001 is not between 0 and 60000",
                "catalog.last_good_after_ms: 9000000000000000000 is not between 0 and 86400000",
                "catalog.deadline_s: 86401 is not between 0 and 86400",
                "xds.stream_age_min: 0 is not between 1 and 10080",
                "xds.drain_s: 9000000000000000000 is not between 0 and 86400",
                "xds.admit_at_once: 0 is not between 1 and 10000",
                "xds.admission_wait_s: 86401 is not between 0 and 86400",
                "file.interval_ms: 0 is not between 10 and 60000",
            ]
        );
    }
}
