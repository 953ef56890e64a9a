//! How to reach Nomad.
//!
//! In: what the caller's own configuration or flags say. Out: [`NomadConfig`], read by the client when it is built.
//!
//! **Invariants**: a secret's `Debug` is `***`. Nothing here reads the environment.

use std::path::PathBuf;
use std::time::Duration;

use service::credentials::{ClientCertificate, Token};
use service::tls::TlsError;

/// Where Nomad is and how to talk to it.
#[derive(Debug, Clone)]
pub struct NomadConfig {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub address: String,
    /// The ACL token.
    pub token: Token,
    /// The namespace of what is asked and written; absent: `default`. `*` in listings: all that the token may see.
    pub namespace: Option<String>,
    /// The region; absent: that of the agent which answers.
    pub region: Option<String>,
    /// PEM file of the authorities that may sign Nomad's certificate; absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate that this client shows.
    pub client_certificate: Option<ClientCertificate>,
    /// Time to connect.
    pub connect_timeout: Duration,
    /// Time for a whole request that does not block.
    pub read_timeout: Duration,
    /// Largest body accepted, in bytes.
    pub body_bytes: usize,
}

impl NomadConfig {
    /// The defaults for `address`: no token, the default namespace.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: Token::None,
            namespace: None,
            region: None,
            ca_file: None,
            client_certificate: None,
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(15),
            body_bytes: 64 * 1024 * 1024,
        }
    }
}

/// A configuration no client can be built from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The address is no URL of Nomad's HTTP API.
    #[error("the Nomad address {address} {problem}: write http://HOST:PORT or https://HOST:PORT")]
    Address {
        /// As configured.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A PEM file cannot be used.
    #[error("no client of Nomad can be built")]
    Tls(#[from] TlsError),
    /// The process has no rustls crypto provider.
    #[error(
        "no TLS crypto provider is installed: install rustls' ring provider when the process starts"
    )]
    NoCryptoProvider,
    /// The HTTP client cannot be built.
    #[error("the HTTP client for Nomad at {address} cannot be built: check the TLS settings")]
    Client {
        /// Nomad's address.
        address: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
}

#[cfg(test)]
mod tests {
    use service::secret::Secret;

    use super::*;

    #[test]
    fn a_configuration_prints_without_its_token() {
        let mut config = NomadConfig::new("http://127.0.0.1:4646");
        config.token = Token::Value(Secret::new("b1gs33cr3t".to_owned()));
        let printed = format!("{config:?}");
        assert!(printed.contains("***"), "{printed}");
        assert!(!printed.contains("b1gs33cr3t"), "{printed}");
    }
}
