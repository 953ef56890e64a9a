//! What events come to.

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
    let failing = |error: &str| RegistryEvent::Source { name: "consul", error: Some(error.into()) };
    assert_eq!(store.apply(failing("connection refused"), 5), Change::Status);
    assert_eq!(store.apply(failing("connection refused"), 9), Change::Nothing);
    assert_eq!(store.publish().sources["consul"].failing, Some(("connection refused".into(), 5)));
}

#[test]
fn documents_that_are_read_again_change_nothing_though_one_is_bad() {
    let mut store = CatalogStore::new(TIMES, None);
    let documents = |text: &str| {
        let text = format!("kind: System\nname: trading\n{text}");
        RegistryEvent::Documents(BTreeMap::from([("trading".to_owned(), text)]))
    };
    assert_eq!(store.apply(documents("routs: []\n"), 0), Change::Status);
    assert_eq!(store.apply(documents("routs: []\n"), 0), Change::Nothing);
    assert_eq!(store.apply(documents("rootes: []\n"), 0), Change::Status, "another mistake");
    assert_eq!(store.apply(documents("default_auth: none\n"), 0), Change::Mesh);
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
