//! How to reach Nomad, as an operator writes it: the table `[nomad]` of a program's configuration file.
//!
//! In: the table, and `NOMAD_TOKEN` for the secret. Out: a [`NomadConfig`], or every problem with its key.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use service::config::Problems;
use service::credentials::{ClientCertificate, Token};

use crate::config::NomadConfig;

/// The environment variable of Nomad's token, used when no `token_file` is written.
const TOKEN_VARIABLE: &str = "NOMAD_TOKEN";

/// `[nomad]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawNomad {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    pub address: String,
    /// File with the ACL token, read again for each request; without it `NOMAD_TOKEN` is used.
    pub token_file: Option<PathBuf>,
    /// The namespaces that are watched, separated by commas; `*`: every one that the token may see.
    pub namespace: String,
    /// The namespace whose variables `mesh/systems/NAME` (item `document`) are the System documents; without it they are the files of `file.directory`.
    pub documents_namespace: Option<String>,
    /// The region; without it that of the agent which answers.
    pub region: Option<String>,
    /// PEM file of the authorities that sign Nomad's certificate; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate shown to Nomad.
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key.
    pub key_file: Option<PathBuf>,
}

impl Default for RawNomad {
    fn default() -> Self {
        Self {
            address: "http://127.0.0.1:4646".to_owned(),
            token_file: None,
            namespace: "default".to_owned(),
            documents_namespace: None,
            region: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

impl RawNomad {
    /// What the client is built from; what is wrong is noted under `nomad.…`.
    pub fn resolve(self, problems: &mut Problems) -> NomadConfig {
        let mut config = NomadConfig::new(self.address);
        config.token = Token::configured(self.token_file, TOKEN_VARIABLE);
        config.namespace = Some(self.namespace);
        config.region = self.region;
        config.ca_file = problems.readable("nomad.ca_file", self.ca_file);
        config.client_certificate = problems
            .certificate("nomad", self.cert_file, self.key_file)
            .map(ClientCertificate::from);
        config
    }
}
