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
        let problems_before = self.documents.problems().count();
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
        match (changed.is_empty(), problems_before + self.documents.problems().count()) {
            (false, _) => Change::Mesh,
            (true, 0) => Change::Nothing,
            (true, _) => Change::Status,
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

/// Builders for tests of this and later stages.
#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use super::*;
    use crate::registry::CheckStatus;

    /// Instance `number` of a service: 127.0.0.`number`, port 2`number`.
    pub(crate) fn a_registration(name: &str, system: &str, number: u8) -> RegisteredInstance {
        RegisteredInstance {
            id: format!("{name}-{number}"),
            node: "host-1".into(),
            address: format!("127.0.0.{number}"),
            port: 20_000 + u16::from(number),
            tags: vec![],
            meta: BTreeMap::from([
                ("mesh_system".into(), system.into()),
                ("mesh_instance".into(), format!("{name}-{number}")),
            ]),
            status: CheckStatus::Passing,
            weight_passing: 1,
            weight_warning: 1,
        }
    }

    /// The same with one more meta key.
    pub(crate) fn with_meta(
        mut registration: RegisteredInstance,
        key: &str,
        value: &str,
    ) -> RegisteredInstance {
        registration.meta.insert(key.into(), value.into());
        registration
    }

    /// The catalog that these services and documents come to.
    pub(crate) fn a_catalog(
        services: &[(&str, Vec<RegisteredInstance>)],
        documents: &[(&str, &str)],
    ) -> Arc<CatalogSnapshot> {
        let mut store =
            CatalogStore::new(GateTimes { last_good_after_ms: 0, deadline_ms: 0 }, None);
        for (name, instances) in services {
            let event =
                RegistryEvent::Service { name: (*name).into(), instances: instances.clone() };
            store.apply(event, 0);
        }
        let documents =
            documents.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        store.apply(RegistryEvent::Documents(documents), 0);
        store.publish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::testing::{a_catalog, a_registration, with_meta};
    use super::*;
    use crate::catalog::Health;
    use crate::registry::CheckStatus;

    const TIMES: GateTimes = GateTimes { last_good_after_ms: 0, deadline_ms: 0 };

    fn observed(name: &str, instances: Vec<RegisteredInstance>) -> RegistryEvent {
        RegistryEvent::Service { name: name.into(), instances }
    }

    #[test]
    fn a_flap_touches_only_the_instances_of_its_service() {
        let mut store = CatalogStore::new(TIMES, None);
        store.apply(observed("orders", vec![a_registration("orders", "trading", 1)]), 0);
        store.apply(observed("quotes", vec![a_registration("quotes", "trading", 2)]), 0);
        store.apply(observed("positions", vec![a_registration("positions", "portfolio", 3)]), 0);
        let before = store.publish();

        let mut critical = a_registration("orders", "trading", 1);
        critical.status = CheckStatus::Critical;
        assert_eq!(store.apply(observed("orders", vec![critical]), 0), Change::Mesh);
        let after = store.publish();

        let (old, new) = (&before.systems["trading"], &after.systems["trading"]);
        assert_eq!(new.instances["orders"][0].health, Health::Unhealthy);
        assert!(Arc::ptr_eq(&old.specs, &new.specs));
        assert!(Arc::ptr_eq(&old.instances["quotes"], &new.instances["quotes"]));
        assert!(Arc::ptr_eq(&before.systems["portfolio"], &after.systems["portfolio"]));
    }

    #[test]
    fn one_consul_name_in_two_systems_is_two_services() {
        let catalog = a_catalog(
            &[(
                "api",
                vec![a_registration("api", "trading", 1), a_registration("api", "portfolio", 2)],
            )],
            &[],
        );
        assert_eq!(catalog.systems["trading"].instances["api"].len(), 1);
        assert_eq!(catalog.systems["portfolio"].instances["api"].len(), 1);
    }

    #[test]
    fn a_bad_registration_is_rejected_by_name_and_the_others_are_served() {
        let good = a_registration("orders", "trading", 1);
        let mut no_port = a_registration("orders", "trading", 2);
        no_port.port = 0;
        let mut host_name = a_registration("orders", "trading", 3);
        host_name.address = "orders.example.com".into();
        let bad_meta = with_meta(a_registration("orders", "trading", 4), "mesh_protocol", "https");
        let catalog = a_catalog(&[("orders", vec![good, no_port, host_name, bad_meta])], &[]);
        assert_eq!(catalog.systems["trading"].instances["orders"].len(), 1);
        let reasons: Vec<String> = catalog
            .problems
            .iter()
            .map(|problem| format!("{}: {}", problem.subject, problem.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                "registration orders-2: it has no port; it gets no traffic, other instances of orders are served",
                "registration orders-3: its address \"orders.example.com\" is not an IP: a mesh instance registers the address of its sidecar; it gets no traffic, other instances of orders are served",
                "registration orders-4: meta mesh_protocol = \"https\": expected one of http, http2, grpc, tcp; it gets no traffic, other instances of orders are served",
            ]
        );
    }

    #[test]
    fn the_last_instance_leaving_removes_the_service_and_then_the_system() {
        let mut store = CatalogStore::new(TIMES, None);
        store.apply(observed("orders", vec![a_registration("orders", "trading", 1)]), 0);
        store.apply(observed("orders", vec![]), 0);
        assert!(store.publish().systems.is_empty());
    }

    #[test]
    fn a_name_of_the_last_good_state_leaves_when_the_listing_comes_without_it() {
        let state = LastGood {
            format: LastGood::FORMAT,
            names: BTreeMap::from([(
                "orders".into(),
                Arc::from([a_registration("orders", "trading", 1)]),
            )]),
            documents: BTreeMap::new(),
        };
        let mut store = CatalogStore::new(TIMES, Some(state));
        assert_eq!(store.readiness(0), Readiness::LastGood);
        assert!(store.publish().systems.contains_key("trading"));
        assert_eq!(store.last_good(), None, "a half-read registry is not good");
        store.apply(RegistryEvent::Documents(BTreeMap::new()), 0);
        store.apply(RegistryEvent::Listing(BTreeSet::new()), 0);
        assert_eq!(store.readiness(0), Readiness::Complete);
        assert!(store.publish().systems.is_empty());
    }

    #[test]
    fn a_source_that_keeps_failing_keeps_its_first_time() {
        let mut store = CatalogStore::new(TIMES, None);
        let failing =
            |error: &str| RegistryEvent::Source { name: "consul", error: Some(error.into()) };
        assert_eq!(store.apply(failing("connection refused"), 5), Change::Status);
        assert_eq!(store.apply(failing("connection refused"), 9), Change::Nothing);
        assert_eq!(
            store.publish().sources["consul"].failing,
            Some(("connection refused".into(), 5))
        );
    }

    fn an_event() -> impl Strategy<Value = (String, Vec<RegisteredInstance>)> {
        let instance = (1_u8..5, 0_usize..2, 0_usize..4).prop_map(|(number, system, status)| {
            let mut registration = a_registration("x", ["trading", "portfolio"][system], number);
            registration.status = [
                CheckStatus::Passing,
                CheckStatus::Warning,
                CheckStatus::Critical,
                CheckStatus::Maintenance,
            ][status];
            registration
        });
        let name = (0_usize..4)
            .prop_map(|index| ["orders", "quotes", "positions", "ledger"][index].to_owned());
        (name, proptest::collection::vec(instance, 0..4))
    }

    proptest! {
        #[test]
        fn any_order_of_events_that_ends_alike_gives_an_equal_snapshot(events in proptest::collection::vec(an_event(), 0..24)) {
            let mut last: BTreeMap<String, Vec<RegisteredInstance>> = BTreeMap::new();
            let mut store = CatalogStore::new(TIMES, None);
            for (name, instances) in &events {
                store.apply(observed(name, instances.clone()), 0);
                last.insert(name.clone(), instances.clone());
            }
            let long = store.publish();
            let mut store = CatalogStore::new(TIMES, None);
            for (name, mut instances) in last.into_iter().rev() {
                instances.reverse();
                store.apply(observed(&name, instances.clone()), 0);
                prop_assert_eq!(store.apply(observed(&name, instances), 0), Change::Nothing);
            }
            let short = store.publish();
            prop_assert_eq!(&long.systems, &short.systems);
            prop_assert_eq!(&long.problems, &short.problems);
        }
    }
}
