//! What the registry promises, with a real Consul and where that is too well-behaved with a scripted one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::consul::testing::{ConsulProcess, install_crypto_provider};
use ::consul::{CheckDefinition, ConsulConfig, ServiceDefinition};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::registry::RegisteredInstance;

mod changes;
mod confirmation;
mod faults;
mod many;
mod past;

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running registry, and all that it said so far.
struct Observer {
    events: mpsc::Receiver<RegistryEvent>,
    seen: Seen,
    shutdown: CancellationToken,
    running: JoinSet<Result<(), RegistryError>>,
}

/// The sum of the events.
#[derive(Debug, Default)]
struct Seen {
    listing: BTreeSet<Arc<str>>,
    services: BTreeMap<Arc<str>, Vec<RegisteredInstance>>,
    service_events: usize,
    documents: Option<BTreeMap<String, String>>,
    document_events: Vec<BTreeMap<String, String>>,
    held: BTreeMap<String, String>,
    ever_held: BTreeSet<String>,
    sources: BTreeMap<&'static str, Option<String>>,
}

impl Seen {
    fn apply(&mut self, event: RegistryEvent) {
        match event {
            RegistryEvent::Listing(names) => self.listing = names,
            RegistryEvent::Service { name, instances } => {
                self.service_events += 1;
                self.services.insert(name, instances);
            }
            RegistryEvent::Documents(documents) => {
                self.document_events.push(documents.clone());
                self.documents = Some(documents);
            }
            RegistryEvent::Held { subject, reason: Some(reason) } => {
                self.ever_held.insert(subject.clone());
                self.held.insert(subject, reason);
            }
            RegistryEvent::Held { subject, reason: None } => drop(self.held.remove(&subject)),
            RegistryEvent::Source { name, error } => drop(self.sources.insert(name, error)),
        }
    }

    fn instances(&self, name: &str) -> &[RegisteredInstance] {
        self.services.get(name).map_or(&[], Vec::as_slice)
    }

    fn ids(&self, name: &str) -> Vec<&str> {
        self.instances(name).iter().map(|instance| instance.id.as_str()).collect()
    }

    fn error(&self, source: &str) -> Option<&str> {
        self.sources.get(source)?.as_deref()
    }
}

impl Observer {
    fn start(consul: ConsulConfig, config: ConsulRegistryConfig) -> Self {
        install_crypto_provider();
        let registry = ConsulRegistry::new(consul, config).unwrap();
        let (sender, events) = mpsc::channel(64);
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(registry.run(sender, shutdown.clone()));
        Self { events, seen: Seen::default(), shutdown, running }
    }

    /// Until what was seen satisfies `predicate`; fails with what was seen.
    async fn until(&mut self, what: &str, predicate: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !predicate(&self.seen) {
            match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => self.seen.apply(event),
                Ok(None) => panic!("the registry ended while waiting until {what}"),
                Err(_) => panic!("not within {DEADLINE:?}: {what}; seen: {:#?}", self.seen),
            }
        }
    }

    /// That `predicate` holds all the time.
    async fn hold_true(&mut self, time: Duration, what: &str, predicate: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + time;
        while let Ok(event) = tokio::time::timeout_at(deadline, self.events.recv()).await {
            self.seen.apply(event.expect("the registry runs"));
            assert!(predicate(&self.seen), "no longer true: {what}; seen: {:#?}", self.seen);
        }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(DEADLINE, self.running.join_next()).await;
        ended.expect("the registry ends when told").unwrap().unwrap().unwrap();
    }
}

/// Short waits and deadlines, so that faults show within a second.
fn impatient(address: String) -> ConsulConfig {
    let mut config = ConsulConfig::new(address);
    config.wait = Duration::from_secs(1);
    config.limits.poll_slack = Duration::from_millis(500);
    config.limits.read_timeout = Duration::from_secs(1);
    config.limits.backoff_max = Duration::from_millis(500);
    config
}

fn attentive() -> ConsulRegistryConfig {
    ConsulRegistryConfig {
        probe_interval: Duration::from_millis(500),
        ..ConsulRegistryConfig::default()
    }
}

fn a_service(name: &str, id: &str) -> ServiceDefinition {
    let check = CheckDefinition {
        check_id: format!("ttl-{id}"),
        name: "ttl".to_owned(),
        ttl: Some("600s".to_owned()),
        status: Some("passing".to_owned()),
        ..CheckDefinition::default()
    };
    ServiceDefinition {
        id: id.to_owned(),
        name: name.to_owned(),
        address: "10.1.2.3".to_owned(),
        port: 8080,
        meta: BTreeMap::from([("mesh_system".to_owned(), "trading".to_owned())]),
        checks: vec![check],
        ..ServiceDefinition::default()
    }
}

/// Registers an instance on another node than the agent's, which nothing re-registers.
async fn register_elsewhere(consul: &ConsulProcess, node: &str, name: &str, id: &str, port: u16) {
    let body = serde_json::json!({
        "Node": node, "Address": "10.9.9.9", "SkipNodeUpdate": false,
        "Service": {"ID": id, "Service": name, "Port": port},
    });
    consul.call("PUT", "catalog/register", body.to_string()).await.unwrap();
}

async fn deregister_elsewhere(consul: &ConsulProcess, node: &str, id: &str) {
    let body = serde_json::json!({"Node": node, "ServiceID": id});
    consul.call("PUT", "catalog/deregister", body.to_string()).await.unwrap();
}
