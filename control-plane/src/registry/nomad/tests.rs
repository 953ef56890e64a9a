//! What the registry promises, against a Nomad whose answers have the shapes that were measured, and whose faults come by
//! name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ::nomad::NomadConfig;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::registry::{CheckStatus, RegisteredInstance};
use server::{FakeNomad, Instance};

mod changes;
mod documents;
mod faults;
mod server;

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
    listing: Option<BTreeSet<Arc<str>>>,
    services: BTreeMap<Arc<str>, Vec<RegisteredInstance>>,
    service_events: usize,
    held: BTreeMap<String, String>,
    ever_held: BTreeSet<String>,
    error: Option<String>,
    documents: Option<BTreeMap<String, String>>,
    documents_error: Option<String>,
}

impl Seen {
    fn apply(&mut self, event: RegistryEvent) {
        match event {
            RegistryEvent::Listing(names) => {
                self.services.retain(|name, _| names.contains(name));
                self.listing = Some(names);
            }
            RegistryEvent::Service { name, instances } => {
                self.service_events += 1;
                self.services.insert(name, instances);
            }
            RegistryEvent::Held { subject, reason: Some(reason) } => {
                self.ever_held.insert(subject.clone());
                self.held.insert(subject, reason);
            }
            RegistryEvent::Held { subject, reason: None } => drop(self.held.remove(&subject)),
            RegistryEvent::Source { name: "nomad", error } => self.error = error,
            RegistryEvent::Source { name: "nomad-variables", error } => {
                self.documents_error = error;
            }
            RegistryEvent::Source { name, .. } => panic!("no such source: {name}"),
            RegistryEvent::Documents(documents) => self.documents = Some(documents),
        }
    }

    /// The allocations of a name with their states, such as `a1 a2!` (`!`: critical).
    fn of(&self, name: &str) -> String {
        let instances = self.services.get(name).map_or(&[][..], Vec::as_slice);
        let mut words: Vec<String> = instances
            .iter()
            .map(|one| {
                let mark = if one.status == CheckStatus::Critical { "!" } else { "" };
                format!("{}{mark}", one.meta["mesh_instance"])
            })
            .collect();
        words.sort();
        words.join(" ")
    }

    fn lists(&self, name: &str) -> bool {
        self.listing.as_ref().is_some_and(|names| names.contains(name))
    }
}

impl Observer {
    fn start(nomad: &FakeNomad, namespaces: &[&str]) -> Self {
        Self::with(NomadConfig::new(nomad.url()), namespaces)
    }

    fn with(mut nomad: NomadConfig, namespaces: &[&str]) -> Self {
        // Another test of this process may have installed it.
        rustls::crypto::ring::default_provider().install_default().ok();
        nomad.read_timeout = Duration::from_secs(1);
        let config = NomadRegistryConfig {
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            documents: Some("default".to_owned()),
            wait: Duration::from_secs(2),
            settle: Duration::from_secs(2),
            checks_interval: Duration::from_millis(100),
            backoff: Backoff::new(Duration::from_millis(20), Duration::from_millis(200)),
            ..NomadRegistryConfig::default()
        };
        let registry = NomadRegistry::new(nomad, config).unwrap();
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

    /// Until a service has these allocations, in the words of [`Seen::of`].
    async fn until_is(&mut self, name: &str, allocations: &str) {
        self.until(&format!("{name} is {allocations:?}"), |seen| seen.of(name) == allocations)
            .await;
    }

    /// That `predicate` holds all the time.
    async fn hold_true(&mut self, time: Duration, what: &str, predicate: impl Fn(&Seen) -> bool) {
        let deadline = Instant::now() + time;
        assert!(predicate(&self.seen), "not true: {what}; seen: {:#?}", self.seen);
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
