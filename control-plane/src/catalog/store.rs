//! The catalog's single writer: folds registry events into the current [`CatalogSnapshot`].
//!
//! In: events, one at a time. Out: how far each one reaches ([`Change`]), and the snapshot.
//!
//! **Invariants**: repeating an event changes nothing; a name of the last good state leaves only when the registry
//! listed its names without it; untouched parts keep their `Arc`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use contract::api::Problem;
use contract::name::{ServiceKey, ServiceName};

use crate::catalog::documents::Shelf;
use crate::catalog::gate::{Gate, GateTimes, Readiness};
use crate::catalog::last_good::LastGood;
use crate::catalog::service::{ParsedName, parse_name, shared};
use crate::catalog::{CatalogSnapshot, SourceState};
use crate::registry::{RegisteredInstance, RegistryEvent};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

/// How far an event reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing that anyone sees.
    Nothing,
    /// Problems or the state of sources.
    Status,
    /// What proxies get.
    Mesh,
}

/// The only mutable state of the mesh.
#[derive(Debug)]
pub struct CatalogStore {
    snapshot: CatalogSnapshot,
    names: BTreeMap<Arc<str>, Name>,
    documents: Shelf,
    held: BTreeMap<String, String>,
    sources: BTreeMap<&'static str, SourceState>,
    gate: Gate,
}

#[derive(Debug)]
struct Name {
    registrations: Arc<[RegisteredInstance]>,
    services: BTreeSet<ServiceKey>,
    is_external: bool,
    problems: Vec<Problem>,
}

impl Default for Name {
    fn default() -> Self {
        Self {
            registrations: Arc::from([]),
            services: BTreeSet::new(),
            is_external: false,
            problems: Vec::new(),
        }
    }
}

impl CatalogStore {
    /// A catalog at the start of the process, filled with the last good state if there is one.
    pub fn new(times: GateTimes, last_good: Option<LastGood>) -> Self {
        let mut store = Self {
            snapshot: CatalogSnapshot::default(),
            names: BTreeMap::new(),
            documents: Shelf::default(),
            held: BTreeMap::new(),
            sources: BTreeMap::new(),
            gate: Gate::new(times, last_good.is_some()),
        };
        if let Some(state) = last_good {
            for (name, registrations) in state.names {
                store.set_name(&name, registrations.to_vec());
            }
            store.set_documents(state.documents);
        }
        store
    }

    /// Folds one event in. `now_ms` is milliseconds since the start of the process.
    pub fn apply(&mut self, event: RegistryEvent, now_ms: u64) -> Change {
        match event {
            RegistryEvent::Listing(listing) => {
                self.gate.on_listing(&listing);
                self.retain_names(&listing)
            }
            RegistryEvent::Service { name, instances } => {
                self.gate.on_service(&name);
                self.set_name(&name, instances)
            }
            RegistryEvent::Documents(texts) => {
                self.gate.on_documents();
                self.set_documents(texts)
            }
            RegistryEvent::Held { subject, reason } => {
                let before = match reason {
                    Some(reason) => self.held.insert(subject, reason.clone()) != Some(reason),
                    None => self.held.remove(&subject).is_some(),
                };
                if before { Change::Status } else { Change::Nothing }
            }
            RegistryEvent::Source { name, error } => self.set_source(name, error, now_ms),
        }
    }

    /// The current state with the next generation and fresh status.
    pub fn publish(&mut self) -> Arc<CatalogSnapshot> {
        self.snapshot.generation += 1;
        let mut problems: Vec<Problem> = self
            .names
            .values()
            .flat_map(|name| &name.problems)
            .chain(self.documents.problems())
            .cloned()
            .collect();
        problems.extend(self.held.iter().map(|(subject, reason)| Problem {
            subject: subject.clone(),
            reason: format!("held back: {reason}"),
        }));
        problems.sort();
        if *self.snapshot.problems != problems {
            self.snapshot.problems = Arc::new(problems);
        }
        if *self.snapshot.sources != self.sources {
            self.snapshot.sources = Arc::new(self.sources.clone());
        }
        Arc::new(self.snapshot.clone())
    }

    /// Whether the snapshot may be served.
    pub const fn readiness(&self, now_ms: u64) -> Readiness {
        self.gate.readiness(now_ms)
    }

    /// When readiness may change by time alone.
    pub fn next_change_ms(&self, now_ms: u64) -> Option<u64> {
        self.gate.next_change_ms(now_ms)
    }

    /// What to keep on disk. `None` until everything was observed: a half-read registry is not good.
    pub fn last_good(&self) -> Option<LastGood> {
        self.gate.is_complete().then(|| LastGood {
            format: LastGood::FORMAT,
            names: self
                .names
                .iter()
                .map(|(name, entry)| (name.clone(), entry.registrations.clone()))
                .collect(),
            documents: self.documents.texts(),
        })
    }

    fn retain_names(&mut self, listing: &BTreeSet<Arc<str>>) -> Change {
        let gone: Vec<Arc<str>> =
            self.names.keys().filter(|name| !listing.contains(*name)).cloned().collect();
        gone.iter().map(|name| self.set_name(name, Vec::new())).max().unwrap_or(Change::Nothing)
    }

    fn set_name(&mut self, name: &Arc<str>, mut registrations: Vec<RegisteredInstance>) -> Change {
        registrations.sort_by(|a, b| (&a.id, &a.node).cmp(&(&b.id, &b.node)));
        let before = self.names.entry(name.clone()).or_default();
        if *before.registrations == *registrations {
            if registrations.is_empty() {
                self.names.remove(name);
            }
            return Change::Nothing;
        }
        let parsed = parse_name(name, &registrations);
        let is_external = !parsed.externals.is_empty();
        let entry = Name {
            registrations: registrations.into(),
            services: parsed.services.keys().cloned().collect(),
            is_external,
            problems: parsed.problems.clone(),
        };
        let before = std::mem::replace(before, entry);
        if before.is_external || is_external {
            self.set_external(name, &parsed);
        }
        for gone in before.services.difference(&parsed.services.keys().cloned().collect()) {
            self.remove_service(gone);
        }
        self.set_services(parsed);
        if self.names.get(name).is_some_and(|entry| entry.registrations.is_empty()) {
            self.names.remove(name);
        }
        Change::Mesh
    }

    fn set_services(&mut self, parsed: ParsedName) {
        for (key, (spec, instances)) in parsed.services {
            let system = self.snapshot.systems.entry(key.system.clone()).or_default();
            let system = Arc::make_mut(system);
            if system.specs.get(&key.name).is_none_or(|known| **known != spec) {
                Arc::make_mut(&mut system.specs).insert(key.name.clone(), Arc::new(spec));
            }
            if system.instances.get(&key.name).is_none_or(|known| **known != *instances) {
                system.instances.insert(key.name, shared(instances));
            }
        }
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(system) = self.snapshot.systems.get_mut(&key.system) {
            let system = Arc::make_mut(system);
            Arc::make_mut(&mut system.specs).remove(&key.name);
            system.instances.remove(&key.name);
            if system.specs.is_empty() && system.document.is_none() {
                self.snapshot.systems.remove(&key.system);
            }
        }
    }

    fn set_external(&mut self, name: &str, parsed: &ParsedName) {
        // A name that is no label cannot be called by name or listed in a document; it is not an error to have one.
        let Ok(name) = name.parse::<ServiceName>() else { return };
        let externals = Arc::make_mut(&mut self.snapshot.externals);
        if parsed.externals.is_empty() {
            externals.remove(&name);
        } else if externals.get(&name).is_none_or(|known| **known != *parsed.externals) {
            externals.insert(name, parsed.externals.clone().into());
        }
    }

    fn set_documents(&mut self, texts: BTreeMap<String, String>) -> Change {
        let problems_before: Vec<Problem> = self.documents.problems().cloned().collect();
        let changed = self.documents.replace(texts);
        for name in &changed {
            let document = self.documents.get(name).cloned();
            let system = self.snapshot.systems.entry(name.clone()).or_default();
            let is_gone = document.is_none() && system.specs.is_empty();
            Arc::make_mut(system).document = document;
            if is_gone {
                self.snapshot.systems.remove(name);
            }
        }
        if !changed.is_empty() {
            Change::Mesh
        } else if self.documents.problems().eq(&problems_before) {
            Change::Nothing
        } else {
            Change::Status
        }
    }

    fn set_source(&mut self, name: &'static str, error: Option<String>, now_ms: u64) -> Change {
        if error.is_some() {
            self.gate.on_source_failed();
        }
        let since = self.sources.get(name).and_then(|state| state.failing.as_ref()).map(|f| f.1);
        let state = SourceState { failing: error.map(|error| (error, since.unwrap_or(now_ms))) };
        let changed = self.sources.get(name) != Some(&state);
        self.sources.insert(name, state);
        if changed { Change::Status } else { Change::Nothing }
    }
}
