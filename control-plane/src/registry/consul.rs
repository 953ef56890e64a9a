//! Consul's catalogue and the System documents in its KV store, as events.
//!
//! In: Consul's HTTP API through the `consul` crate. Out: [`RegistryEvent`]s. Built and run by the application.
//!
//! Two strategies feed the same per-service tasks (`service.rs`): a blocking query for each service, where Consul can
//! carry so many (HTTPS, or few services), or a sweep (`sweep.rs`) whose few blocking queries tell which services to
//! read. The catalogue (`catalogue.rs`) switches between them as the listing grows or shrinks.
//!
//! **Invariants**
//! - A name stays listed, and its instances published, until an answer that removes them is confirmed (`../guard.rs`,
//!   `../hold.rs`) by a consistent read while the token is known to see the catalogue (`probe.rs`).
//! - An error is reported and retried; it never removes anything.
//! - Nothing waits between Consul's answer and its event, but for that, and for one consistent read of what differs after
//!   a failure or with an index that went back: a server that starts tells its past (`documents.rs`).
//!
//! Deliberately absent: reading of `mesh_*` meta, health policy, other datacenters, namespaces and peers.

use std::sync::Arc;
use std::time::Duration;

use ::consul::{ConsulClient, ConsulConfig, Pace};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::hold::Hold;
use super::outlet::{self, Ended, Outlet};
use super::{Registry, RegistryError, RegistryEvent};

mod catalogue;
mod convert;
mod documents;
mod known;
mod node_watches;
mod probe;
mod scout;
mod service;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;

use catalogue::Catalogue;
use documents::Documents;
use probe::Probe;

/// Blocking longer would make a snapshot restore go unnoticed for longer.
const WAIT_MAX: Duration = Duration::from_secs(90);
/// First blocking queries of services at once, when the catalogue is read for the first time.
const FIRST_READS: usize = 32;

/// What the registry reads and how careful it is; the defaults suit a Consul with its own defaults.
#[derive(Debug, Clone)]
pub struct ConsulRegistryConfig {
    /// Where the System documents are; their name is the rest of the key, without a further `/`.
    pub documents_prefix: String,
    /// On plain HTTP: up to so many services have a blocking query each; above, they are swept.
    pub watched_services_plain: usize,
    /// On HTTPS: the same.
    pub watched_services_tls: usize,
    /// On plain HTTP, when services are swept: up to so many nodes have a blocking query each.
    pub watched_nodes_plain: usize,
    /// On HTTPS: the same.
    pub watched_nodes_tls: usize,
    /// Time between an answer that shrinks the mesh and the read that confirms it; below 500 ms.
    pub confirm_after: Duration,
    /// How often the token's sight of the catalogue is checked, and a restored snapshot looked for.
    pub probe_interval: Duration,
}

impl Default for ConsulRegistryConfig {
    fn default() -> Self {
        Self {
            documents_prefix: "mesh/systems/".to_owned(),
            watched_services_plain: 60,
            watched_services_tls: 3000,
            watched_nodes_plain: 50,
            watched_nodes_tls: 2000,
            confirm_after: Duration::from_millis(200),
            probe_interval: Duration::from_secs(15),
        }
    }
}

/// Consul as a registry.
#[derive(Debug)]
pub struct ConsulRegistry {
    client: ConsulClient,
    config: ConsulRegistryConfig,
}

impl ConsulRegistry {
    /// Reads the TLS files; connects when it runs.
    ///
    /// # Errors
    /// When no client can be built from `consul`.
    pub fn new(
        mut consul: ConsulConfig,
        config: ConsulRegistryConfig,
    ) -> Result<Self, RegistryError> {
        consul.wait = consul.wait.min(WAIT_MAX);
        let client = ConsulClient::new(consul).map_err(|source| RegistryError {
            registry: "consul",
            step: "build its client: correct the settings under `consul`".to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self { client, config })
    }
}

impl Registry for ConsulRegistry {
    async fn run(
        self,
        events: mpsc::Sender<RegistryEvent>,
        shutdown: CancellationToken,
    ) -> Result<(), RegistryError> {
        shutdown.run_until_cancelled(observe(self, events)).await.unwrap_or(Ok(()))
    }
}

/// Until the receiver of the events is gone.
async fn observe(
    registry: ConsulRegistry,
    events: mpsc::Sender<RegistryEvent>,
) -> Result<(), RegistryError> {
    let context = Arc::new(Context {
        probe: Probe::new(registry.client.clone()),
        client: registry.client,
        config: registry.config,
        outlet: Outlet::new(events),
        first_reads: Semaphore::new(FIRST_READS),
    });
    let (restores, restored) = watch::channel(0);
    let outcome = async {
        until_visible(&context).await?;
        let documents = Documents::new(Arc::clone(&context), restored);
        tokio::try_join!(Catalogue::new(Arc::clone(&context), restores).run(), documents.run())?;
        Ok(())
    };
    outlet::outcome(outcome.await)
}

/// No event leaves before the token is known to see the catalogue: what it cannot see would look deregistered.
async fn until_visible(context: &Context) -> Result<(), Ended> {
    let mut backoff = context.client.backoff();
    let mut reported = None;
    loop {
        match context.probe.verify(Instant::now()).await {
            Ok(_) => return context.outlet.source("consul", None).await,
            Err(error) => {
                tracing::warn!(%error, "Waiting for Consul");
                if reported.as_ref() != Some(&error) {
                    context.outlet.source("consul", Some(error.clone())).await?;
                    reported = Some(error);
                }
                tokio::time::sleep(backoff.next_pause(Duration::ZERO)).await;
            }
        }
    }
}

/// What all parts of a running registry share.
#[derive(Debug)]
struct Context {
    client: ConsulClient,
    config: ConsulRegistryConfig,
    outlet: Outlet,
    probe: Probe,
    first_reads: Semaphore,
}

impl Context {
    fn hold(&self, subject: String) -> Hold {
        Hold::new(self.outlet.clone(), subject, self.config.confirm_after)
    }
}

/// The pace of a watch whose answers cost Consul more, the more is in them; a burst of two goes out at once.
fn pace_by_size(items: usize, each: Duration, least: Duration, most: Duration) -> Pace {
    let items = u32::try_from(items).unwrap_or(u32::MAX);
    Pace { burst: 2, interval: each.saturating_mul(items).clamp(least, most) }
}
