//! Where Nomad is, as all commands about jobs take it; and its errors as failures of a command.

use std::path::PathBuf;

use clap::Args;
use nomad::{Job, NomadClient, NomadConfig, NomadError, Token};
use serde_json::Value;
use service::ErrorChain;

use crate::failure::Failure;

/// Where Nomad is.
#[derive(Debug, Clone, Args)]
pub struct NomadArgs {
    /// Nomad's HTTP address.
    #[arg(
        id = "nomad",
        long = "nomad",
        value_name = "URL",
        default_value = "http://127.0.0.1:4646"
    )]
    address: String,
    /// File that holds the ACL token; without it the token is taken from NOMAD_TOKEN.
    #[arg(id = "nomad_token_file", long = "nomad-token-file", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM file of the authorities that may sign Nomad's certificate.
    #[arg(id = "nomad_ca_file", long = "nomad-ca-file", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The job's namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// The job's region.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
}

impl NomadArgs {
    /// Prepares the connection.
    ///
    /// # Errors
    /// When the address or a file cannot be used.
    pub fn client(&self) -> Result<NomadClient, Failure> {
        let usage = |error: &(dyn std::error::Error + 'static)| {
            Failure::Usage(ErrorChain(error).to_string())
        };
        let token = Token::given(self.token_file.as_deref(), "NOMAD_TOKEN");
        let config = NomadConfig {
            token: token.map_err(|error| usage(&error))?,
            ca_file: self.ca_file.clone(),
            namespace: self.namespace.clone(),
            region: self.region.clone(),
            ..NomadConfig::new(self.address.clone())
        };
        NomadClient::new(config).map_err(|error| usage(&error))
    }

    /// The same in the namespace of a job's file; a namespace on the command line is for files that name none.
    ///
    /// # Errors
    /// When both name one, and not the same.
    pub fn for_job(&self, job: &mut Job) -> Result<Self, Failure> {
        let written = job.body.get("Namespace").and_then(Value::as_str).unwrap_or_default();
        let namespace = match (written, self.namespace.as_deref()) {
            ("" | "default", None) => return Ok(self.clone()),
            ("" | "default", Some(given)) => given.to_owned(),
            (written, None) => written.to_owned(),
            (written, Some(given)) if written == given => given.to_owned(),
            (written, Some(given)) => {
                return Err(Failure::Usage(format!(
                    "the file says namespace {written:?} and --namespace {given:?}: leave one out"
                )));
            }
        };
        if let Some(fields) = job.body.as_object_mut() {
            fields.insert("Namespace".to_owned(), namespace.clone().into());
        }
        Ok(Self { namespace: Some(namespace), ..self.clone() })
    }

    /// The key under which Consul keeps a deploy of the job.
    pub fn record_key(&self, job: &str) -> String {
        match self.namespace.as_deref() {
            None | Some("default") => format!("mesh/deploys/{job}"),
            Some(namespace) => format!("mesh/deploys/{namespace}/{job}"),
        }
    }
}

/// Unreachable when another try, or another address, may succeed; refused when an operator must act.
pub fn failure(error: &NomadError) -> Failure {
    let message = ErrorChain(error).to_string();
    if error.is_outage() {
        Failure::Unreachable(format!("{message}; --nomad says where it is"))
    } else {
        Failure::Refused(message)
    }
}
