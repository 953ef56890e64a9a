//! The control planes' read-only API, asked at all replicas at once.
//!
//! In: base addresses and a path. Out: each replica's answer. Called by [`crate::show`].
//!
//! **Invariants**: a replica that does not answer is named with the next step and fails nothing while another answers;
//! nothing is retried, because a person is waiting. Proxies from the environment are not used: they have no way to a
//! host's loopback, and no business with the token.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use contract::api::ApiError;
use futures::future::join_all;
use reqwest::{Client, StatusCode};
use serde::de::DeserializeOwned;
use service::ErrorChain;
use service::secret::Secret;
use service::tls;

use crate::console::Console;
use crate::failure::Failure;

/// How long a replica may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where the control planes are.
#[derive(Debug, Clone, Args)]
pub struct ApiArgs {
    /// The control planes' API addresses; all are asked, a proxy is connected to one of them.
    #[arg(
        long = "api",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:18002",
        global = true
    )]
    addresses: Vec<String>,
    /// File with the bearer token of the API, where it asks for one.
    #[arg(id = "api_token_file", long = "api-token-file", value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// PEM file of the authorities that sign the API's certificate; without it the system's.
    #[arg(id = "api_ca_file", long = "api-ca-file", value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
}

/// All replicas of the control plane.
#[derive(Debug)]
pub struct Replicas {
    addresses: Vec<String>,
    client: Client,
    token: Option<Secret>,
}

/// What one replica said.
#[derive(Debug)]
pub struct Answer<T> {
    /// Its address.
    pub replica: String,
    /// What it knows; `None`: it does not know what was asked for.
    pub value: Option<T>,
}

impl Replicas {
    /// Prepares the connections.
    ///
    /// # Errors
    /// When the addresses are none or TLS cannot be set up.
    pub fn new(args: &ApiArgs) -> Result<Self, Failure> {
        for address in &args.addresses {
            if !address.starts_with("http://") && !address.starts_with("https://") {
                return Err(Failure::Usage(format!("--api {address:?}: write http://HOST:PORT")));
            }
        }
        let is_tls = args.addresses.iter().any(|address| address.starts_with("https:"));
        let client = Client::builder().no_proxy().timeout(DEADLINE);
        let client = tls::set_up(client, is_tls, args.ca_file.as_deref(), None);
        let client = client.map_err(|error| {
            Failure::Refused(format!("control planes cannot be asked: {}", ErrorChain(&error)))
        })?;
        let client = client.build().map_err(|error| {
            Failure::Refused(format!("cannot prepare an HTTP client: {}", ErrorChain(&error)))
        })?;
        let token = args.token_file.as_deref().map(Secret::from_file).transpose();
        let token = token.map_err(|error| Failure::Refused(ErrorChain(&error).to_string()))?;
        let trim = |address: &String| address.trim_end_matches('/').to_owned();
        Ok(Self { addresses: args.addresses.iter().map(trim).collect(), client, token })
    }

    /// Asks all replicas; names on `console` those that do not answer.
    ///
    /// # Errors
    /// When none answers.
    pub async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        console: &mut Console<'_>,
    ) -> Result<Vec<Answer<T>>, Failure> {
        let mut answers = Vec::new();
        for (replica, answer) in self.ask_each(path).await {
            match answer {
                Ok(value) => answers.push(Answer { replica, value }),
                Err(why) => console.remark(&format!("{replica}: {why}"))?,
            }
        }
        if answers.is_empty() {
            return Err(Failure::Unreachable(
                "no control plane answers: start one, or say with --api where they are".to_owned(),
            ));
        }
        Ok(answers)
    }

    /// Asks all replicas: what each knows, `None` where it does not know what was asked for, or why it gives no answer.
    pub async fn ask_each<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Vec<(String, Result<Option<T>, String>)> {
        let asked = self.addresses.iter().map(|address| self.ask_one::<T>(address, path));
        self.addresses.iter().cloned().zip(join_all(asked).await).collect()
    }

    async fn ask_one<T: DeserializeOwned>(
        &self,
        address: &str,
        path: &str,
    ) -> Result<Option<T>, String> {
        let mut request = self.client.get(format!("{address}{path}"));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let why = ErrorChain(&error.without_url()).to_string();
                let hint = "check that a control plane runs there and has its API port open";
                return Err(format!("does not answer ({why}): {hint}"));
            }
        };
        let status = response.status();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Err(format!("broke off its answer: {error}")),
        };
        if status == StatusCode::OK {
            return match serde_json::from_slice(&body) {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(format!(
                    "answers what this version does not understand ({error}): use a meshctl of the control plane's version"
                )),
            };
        }
        match serde_json::from_slice::<ApiError>(&body) {
            Ok(_) if status == StatusCode::NOT_FOUND => Ok(None),
            Ok(ApiError { error }) => Err(error),
            Err(_) => Err(format!("answers {status}: is it a control plane's API?")),
        }
    }
}
