//! How to reach Consul, and how hard to lean on it.
//!
//! In: what the caller's own configuration says. Out: [`ConsulConfig`], read by the client when it is built.
//!
//! **Invariants**: a secret's `Debug` is `***`. Nothing here reads the environment.

use std::path::PathBuf;
use std::time::Duration;

use service::credentials::{ClientCertificate, Token};
use service::pace::Pace;
use service::tls::TlsError;

/// Where Consul is and how to talk to it.
#[derive(Debug, Clone)]
pub struct ConsulConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT`. HTTPS is spoken as HTTP/2.
    pub address: String,
    /// The ACL token.
    pub token: Token,
    /// PEM file of the authorities that may sign Consul's certificate; absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate that this client shows.
    pub client_certificate: Option<ClientCertificate>,
    /// The DNS name that Consul's certificate must carry, where it differs from the address's host.
    pub tls_server_name: Option<String>,
    /// Consistency of watches; reads name theirs.
    pub consistency: Consistency,
    /// How long one blocking query may block. It bounds staleness after a snapshot restore.
    /// On plain HTTP at most 30 s apply, because Consul counts a dead client's connections until their wait ends.
    pub wait: Duration,
    /// Caps and times.
    pub limits: Limits,
}

impl ConsulConfig {
    /// The defaults for `address`: no token, default consistency, a wait of 90 s.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: Token::None,
            ca_file: None,
            client_certificate: None,
            tls_server_name: None,
            consistency: Consistency::Default,
            wait: Duration::from_secs(90),
            limits: Limits::default(),
        }
    }

    /// Whether the address is HTTPS.
    pub fn is_tls(&self) -> bool {
        self.address.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    }
}

/// Caps and times of a client; the defaults suit a Consul with its own defaults.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Watches at once on plain HTTP, one connection each; Consul closes what exceeds 200 per source address.
    pub plain_watches: usize,
    /// Watches at once on one HTTPS connection; Consul allows 250 streams.
    pub streams_per_connection: usize,
    /// HTTPS connections for watches.
    pub watch_connections: usize,
    /// One-shot requests at once, over connections of their own.
    pub reads: usize,
    /// Largest body accepted, after decompression, in bytes.
    pub body_bytes: usize,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole one-shot request.
    pub read_timeout: Duration,
    /// Time a blocking query may take beyond 17/16 of its wait.
    pub poll_slack: Duration,
    /// First pause after a failed poll; later ones double, with full jitter.
    pub backoff_min: Duration,
    /// Longest pause after failed polls.
    pub backoff_max: Duration,
    /// How often one watch may poll.
    pub pace: Pace,
    /// With `stale`: the largest time since the answering server heard from the leader.
    pub max_stale: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            plain_watches: 80,
            streams_per_connection: 200,
            watch_connections: 16,
            reads: 16,
            body_bytes: 32 * 1024 * 1024,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(10),
            poll_slack: Duration::from_secs(15),
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            pace: Pace { burst: 2, interval: Duration::from_millis(100) },
            max_stale: Duration::from_secs(10),
        }
    }
}

/// Consul's consistency modes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// Answered by the leader.
    #[default]
    Default,
    /// Answered by any server that hears its leader.
    Stale,
    /// Answered by the leader after it has asked its peers whether it still leads.
    Consistent,
}

impl Consistency {
    pub(crate) fn parameter(self) -> Option<&'static str> {
        match self {
            Self::Default => None,
            Self::Stale => Some("stale"),
            Self::Consistent => Some("consistent"),
        }
    }
}

/// A configuration no client can be built from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The address is no URL of Consul's HTTP API.
    #[error("the Consul address {address} {problem}: write http://HOST:PORT or https://HOST:PORT")]
    Address {
        /// As configured.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A PEM file cannot be used.
    #[error("no client of Consul can be built")]
    Tls(#[from] TlsError),
    /// The process has no rustls crypto provider.
    #[error(
        "no TLS crypto provider is installed: install rustls' ring provider when the process starts"
    )]
    NoCryptoProvider,
    /// The HTTP client cannot be built.
    #[error("the HTTP client for Consul at {address} cannot be built: check the TLS settings")]
    Client {
        /// Consul's address.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// A time or a cap is out of range.
    #[error("the Consul setting {key} is out of range: {expected}")]
    Range {
        /// Its name.
        key: &'static str,
        /// What is allowed.
        expected: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use service::secret::Secret;

    use super::*;

    #[test]
    fn a_configuration_prints_without_its_token() {
        let mut config = ConsulConfig::new("http://127.0.0.1:8500");
        config.token = Token::Value(Secret::new("b1gs33cr3t".to_owned()));
        let printed = format!("{config:?}");
        assert!(printed.contains("***"), "{printed}");
        assert!(!printed.contains("b1gs33cr3t"), "{printed}");
    }
}
