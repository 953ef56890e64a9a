//! Nomad's own services (`provider = "nomad"`), as events: a mesh without Consul.
//!
//! In: Nomad's HTTP API through the `nomad` crate. Out: [`RegistryEvent`]s. Built and run by the application. The System
//! documents are Nomad's variables (`documents.rs`), or come from a directory meanwhile (`file.rs`).
//!
//! **How changes are noticed.** One blocking query for each namespace waits for the listing of services: its index is
//! that of the table of registrations, so that any change of one wakes it. Then each service is read, at a pace that grows
//! with their number: Nomad allows a client 100 connections at a time, too few for a blocking query for each service.
//!
//! **How health is known.** Nomad lists an instance whatever its checks say; they are asked of the host that makes them,
//! `/v1/client/allocation/ID/checks`, through the servers. That answer has no index to wait for, and nothing else tells:
//! a host keeps outcomes to itself, so that neither the allocation nor the listing of allocations changes with a check.
//! An allocation's own blocking query would spare no question, and cost a connection each. So checks are polled
//! (`checks.rs`): every 2 s, four times as often while one fails, seldom where there are none, at once when an allocation
//! is new; never more than a hundred in a second, so that the interval grows beyond 200 allocations. Allocations without
//! checks count as passing.
//!
//! **Invariants**
//! - An error is reported and retried; it never removes anything. Neither does an index that went back, until Nomad had
//!   [`NomadRegistryConfig::settle`] to bring everything again (`unit.rs`).
//! - The loss of a service's last instance, or of more than half of many, is confirmed by another read.
//! - Reads go to the leader; `stale` is never asked for.
//!
//! Deliberately absent: reading of `mesh_*` keys, health policy, other regions, the event stream (a subscriber may miss
//! events).

use std::sync::Arc;
use std::time::Duration;

use ::nomad::{NomadClient, NomadConfig};
use service::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::outlet::{self, Outlet};
use super::{Registry, RegistryError, RegistryEvent};

mod checks;
mod convert;
mod documents;
mod follow;
mod publish;
#[cfg(test)]
mod tests;
mod unit;

use checks::{Checks, Places};
use documents::Documents;
use follow::Follower;

/// News of checks that wait to be published.
const NEWS: usize = 256;

/// What the registry reads and how careful it is; the defaults suit a Nomad with its own defaults.
#[derive(Debug, Clone)]
pub struct NomadRegistryConfig {
    /// The namespaces; `*`: every one that the token may see.
    pub namespaces: Vec<String>,
    /// The namespace whose variables are the documents; `None`: they come from elsewhere.
    pub documents: Option<String>,
    /// How long a blocking query blocks; bounds how long a missed change could last.
    pub wait: Duration,
    /// Time between an answer that shrinks the mesh and the read that confirms it.
    pub confirm_after: Duration,
    /// Time for which nothing leaves after Nomad's index went back.
    pub settle: Duration,
    /// How often checks that pass are asked for.
    pub checks_interval: Duration,
    /// Pauses after failed requests.
    pub backoff: Backoff,
}

impl Default for NomadRegistryConfig {
    fn default() -> Self {
        Self {
            namespaces: vec!["default".to_owned()],
            documents: None,
            wait: Duration::from_secs(60),
            confirm_after: Duration::from_millis(200),
            settle: Duration::from_secs(10),
            checks_interval: Duration::from_secs(2),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(5)),
        }
    }
}

/// Nomad as a registry.
#[derive(Debug)]
pub struct NomadRegistry {
    client: NomadClient,
    config: NomadRegistryConfig,
}

impl NomadRegistry {
    /// Reads the TLS files; connects when it runs. The namespaces are those of `config`, not the client's.
    ///
    /// # Errors
    /// When no client can be built from `nomad`.
    pub fn new(mut nomad: NomadConfig, config: NomadRegistryConfig) -> Result<Self, RegistryError> {
        nomad.namespace = None;
        let client = NomadClient::new(nomad).map_err(|source| RegistryError {
            registry: "nomad",
            step: "build its client: correct the settings under `nomad`".to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self { client, config })
    }
}

impl Registry for NomadRegistry {
    async fn run(
        self,
        events: mpsc::Sender<RegistryEvent>,
        shutdown: CancellationToken,
    ) -> Result<(), RegistryError> {
        let outlet = Outlet::new(events);
        let context = Arc::new(Context { client: self.client, config: self.config, outlet });
        let (places, placed) = watch::channel(Places::new());
        let (tell, news) = mpsc::channel(NEWS);
        let follower = Follower::new(Arc::clone(&context), places);
        let namespace = context.config.documents.clone();
        let documents = namespace.map(|one| Documents::new(Arc::clone(&context), one));
        let checks = Checks::new(context, placed, tell);
        let documents = async {
            match documents {
                Some(documents) => documents.run().await,
                None => Ok(()),
            }
        };
        let all =
            async { tokio::try_join!(follower.run(news), checks.run(), documents).map(|_| ()) };
        let ended = shutdown.run_until_cancelled(Box::pin(all)).await;
        outlet::outcome(ended.unwrap_or(Ok(())))
    }
}

/// What all parts of a running registry share.
#[derive(Debug)]
struct Context {
    client: NomadClient,
    config: NomadRegistryConfig,
    outlet: Outlet,
}
