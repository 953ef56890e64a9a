//! System documents and their earlier versions in Consul's KV, and which services are registered.
//!
//! | key | holds |
//! |---|---|
//! | `mesh/systems/NAME` | the document in force, as the operator wrote it |
//! | `mesh/history/systems/NAME/VERSION` | a document that was replaced, with when and by which command |
//!
//! A version is the modify index under which Consul kept the document: it grows, and two writers cannot have the same.
//! Called by [`crate::change`], [`crate::apply`] and [`crate::history`].
//!
//! **Invariants**: a document is written and deleted with check-and-set only; the history is no place that control
//! planes read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use consul::{Consistency, ConsulClient, ConsulConfig, ConsulError, Query, Token};
use contract::name::{ServiceName, SystemName};
use contract::system::{Route, SystemDocument};
use serde::{Deserialize, Serialize};
use service::ErrorChain;

use crate::failure::Failure;

/// Versions that are kept of each document, beside the one in force.
const KEPT: usize = 20;

/// Where Consul is.
#[derive(Debug, Clone, Args)]
pub struct ConsulArgs {
    /// Consul's HTTP address.
    #[arg(
        id = "consul",
        long = "consul",
        value_name = "URL",
        default_value = "http://127.0.0.1:8500",
        global = true
    )]
    address: String,
    /// File that holds the ACL token; without it the token is taken from CONSUL_HTTP_TOKEN.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// PEM file of the authorities that may sign Consul's certificate.
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
}

/// A document in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// As written.
    pub text: String,
    /// What a check-and-set names.
    pub version: u64,
}

/// A document that was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Its version.
    pub version: u64,
    /// Seconds since the epoch at which it was replaced.
    pub replaced_at: u64,
    /// `apply`, `undo` or `delete`.
    pub replaced_by: String,
    /// As written.
    pub text: String,
}

/// The kept versions of a document.
#[derive(Debug)]
pub struct History {
    /// The last one first.
    pub versions: Vec<Replaced>,
    /// What is no kept version: each with its key and what to do.
    pub broken: Vec<String>,
}

/// Consul, as far as documents are concerned.
#[derive(Debug)]
pub struct Store {
    client: ConsulClient,
}

impl ConsulArgs {
    /// Prepares the connection.
    ///
    /// # Errors
    /// When the address or the token's file cannot be used.
    pub fn client(&self) -> Result<ConsulClient, Failure> {
        let usage = |error: &(dyn std::error::Error + 'static)| {
            Failure::Usage(ErrorChain(error).to_string())
        };
        let token = Token::given(self.token_file.as_deref(), "CONSUL_HTTP_TOKEN");
        let config = ConsulConfig {
            token: token.map_err(|error| usage(&error))?,
            ca_file: self.ca_file.clone(),
            ..ConsulConfig::new(self.address.clone())
        };
        ConsulClient::new(config).map_err(|error| usage(&error))
    }
}

impl Store {
    /// Prepares the connection.
    ///
    /// # Errors
    /// When the address or the token's file cannot be used.
    pub fn new(args: &ConsulArgs) -> Result<Self, Failure> {
        Ok(Self { client: args.client()? })
    }

    /// The document in force.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn document(&self, name: &SystemName) -> Result<Option<Stored>, Failure> {
        let found = self.client.get_key(&document_key(name), Consistency::Consistent).await;
        Ok(found.map_err(failure)?.map(|found| Stored {
            text: String::from_utf8_lossy(&found.value).into_owned(),
            version: found.modify_index,
        }))
    }

    /// Writes the document if the one in force is still `before`; `false`: it is not, and nothing is written.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn write(
        &self,
        name: &SystemName,
        text: Option<&str>,
        before: Option<&Stored>,
    ) -> Result<bool, Failure> {
        let key = document_key(name);
        let version = before.map_or(0, |stored| stored.version);
        match text {
            Some(text) => self.client.put_key(&key, text, Some(version)).await,
            None => self.client.delete_key(&key, Some(version)).await,
        }
        .map_err(failure)
    }

    /// Keeps a document that is about to be replaced.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn keep(&self, name: &SystemName, replaced: &Replaced) -> Result<(), Failure> {
        let json = serde_json::to_vec(replaced)
            .map_err(|error| Failure::Refused(format!("cannot write the history: {error}")))?;
        let key = history_key(name, replaced.version);
        self.client.put_key(&key, json, None).await.map_err(failure)?;
        Ok(())
    }

    /// Takes a kept version out again.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn forget(&self, name: &SystemName, version: u64) -> Result<(), Failure> {
        self.client.delete_key(&history_key(name, version), None).await.map_err(failure)?;
        Ok(())
    }

    /// The versions that were replaced.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn history(&self, name: &SystemName) -> Result<History, Failure> {
        let prefix = history_prefix(name);
        let found = self.client.read(&Query::keys_below(&prefix), Consistency::Consistent).await;
        let mut history = History { versions: Vec::new(), broken: Vec::new() };
        for entry in found.map_err(failure)?.value {
            match serde_json::from_slice(&entry.value) {
                Ok(replaced) => history.versions.push(replaced),
                Err(error) => {
                    let key = &entry.key;
                    history.broken.push(format!("{key} is no kept version ({error}): delete it"));
                }
            }
        }
        history.versions.sort_by_key(|replaced| std::cmp::Reverse(replaced.version));
        Ok(history)
    }

    /// Deletes what exceeds the number of kept versions.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn trim(&self, name: &SystemName) -> Result<(), Failure> {
        for replaced in self.history(name).await?.versions.iter().skip(KEPT) {
            self.forget(name, replaced.version).await?;
        }
        Ok(())
    }

    /// Of the services that the document names, those that are registered: its own in its System, external ones at all.
    ///
    /// # Errors
    /// When Consul does not answer or refuses.
    pub async fn registered(
        &self,
        document: &SystemDocument,
    ) -> Result<BTreeSet<ServiceName>, Failure> {
        let own = document.routes.iter().flat_map(Route::services).chain(document.services.keys());
        let mut registered = BTreeSet::new();
        for name in own.collect::<BTreeSet<_>>() {
            if self.is_registered(name, Some(&document.name)).await? {
                registered.insert(name.clone());
            }
        }
        for name in &document.external {
            if self.is_registered(name, None).await? {
                registered.insert(name.clone());
            }
        }
        Ok(registered)
    }

    async fn is_registered(
        &self,
        name: &ServiceName,
        system: Option<&SystemName>,
    ) -> Result<bool, Failure> {
        let query = Query::health_service(name.as_str());
        let entries = self.client.read(&query, Consistency::Default).await.map_err(failure)?.value;
        Ok(entries.iter().any(|entry| {
            system.is_none_or(|system| {
                entry.service.meta.get("mesh_system").map(String::as_str) == Some(system.as_str())
            })
        }))
    }
}

fn document_key(name: &SystemName) -> String {
    format!("mesh/systems/{name}")
}

fn history_prefix(name: &SystemName) -> String {
    format!("mesh/history/systems/{name}/")
}

fn history_key(name: &SystemName, version: u64) -> String {
    format!("{}{version}", history_prefix(name))
}

/// Unreachable when another try, or another address, may succeed; refused when an operator must act.
pub(crate) fn failure(error: ConsulError) -> Failure {
    let message = ErrorChain(&error).to_string();
    match error {
        ConsulError::Unreachable { .. } | ConsulError::TimedOut { .. } => {
            Failure::Unreachable(format!("{message}; --consul says where it is"))
        }
        _ => Failure::Refused(message),
    }
}
