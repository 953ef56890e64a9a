//! How to reach Consul, as an operator writes it: the table `[consul]` of a program's configuration file.
//!
//! In: the table, and `CONSUL_HTTP_TOKEN` for the secret. Out: a [`ConsulConfig`], or every problem with its key.
//! Used by each program that watches Consul.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Problems;
use service::credentials::{ClientCertificate, Token};

use crate::config::{Consistency, ConsulConfig};

/// The environment variable of Consul's token, used when no `token_file` is written.
const TOKEN_VARIABLE: &str = "CONSUL_HTTP_TOKEN";

/// `[consul]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConsul {
    /// `http://HOST:PORT` or `https://HOST:PORT`; HTTPS is spoken as HTTP/2 and has no limit of 200 connections.
    pub address: String,
    /// File with the ACL token, read again for each request; without it `CONSUL_HTTP_TOKEN` is used.
    pub token_file: Option<PathBuf>,
    /// PEM file of the authorities that sign Consul's certificate; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate shown to Consul.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
    /// Host name in Consul's certificate, where it differs from the address's.
    pub tls_server_name: Option<String>,
    /// Whether watches may be answered by servers that are not the leader.
    pub stale: bool,
    /// Longest time a blocking query blocks, in seconds; bounds staleness after a snapshot restore.
    pub wait_s: u64,
}

impl Default for RawConsul {
    fn default() -> Self {
        Self {
            address: "http://127.0.0.1:8500".to_owned(),
            token_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            tls_server_name: None,
            stale: false,
            wait_s: 90,
        }
    }
}

impl RawConsul {
    /// What the client is built from; what is wrong is noted under `consul.…`.
    pub fn resolve(self, problems: &mut Problems) -> ConsulConfig {
        let mut config = ConsulConfig::new(self.address);
        config.token = Token::configured(self.token_file, TOKEN_VARIABLE);
        config.ca_file = problems.readable("consul.ca_file", self.ca_file);
        config.client_certificate = problems
            .certificate("consul", self.cert_file, self.key_file)
            .map(ClientCertificate::from);
        config.tls_server_name = self.tls_server_name;
        config.consistency = if self.stale { Consistency::Stale } else { Consistency::Default };
        config.wait = Duration::from_secs(self.wait_s.clamp(1, 90));
        config
    }
}
