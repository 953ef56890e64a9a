//! Who is recognised by what.

use std::collections::BTreeMap;

use super::*;
use crate::traces::wire::{put_bytes, text_attribute};

fn instance(id: &str, service: &str, address: &str, system: Option<&str>) -> Arc<Instance> {
    let mut meta = BTreeMap::from([("mesh_instance".to_owned(), format!("alloc-{id}"))]);
    meta.extend(system.map(|system| ("mesh_system".to_owned(), system.to_owned())));
    Arc::new(Instance {
        id: id.to_owned(),
        service: service.to_owned(),
        address: address.parse().ok(),
        port: 80,
        registration: contract::registration::Registration::from_meta(&meta),
        allocation: Some(format!("alloc-{id}")),
        gone: None,
    })
}

fn instances(all: &[Arc<Instance>]) -> Instances {
    let mut instances = Instances { node: "host-a".to_owned(), ..Instances::default() };
    for one in all {
        instances.by_id.insert(one.id.clone(), Arc::clone(one));
        let allocation = one.allocation.clone().unwrap();
        instances.by_allocation.entry(allocation).or_default().push(Arc::clone(one));
    }
    instances
}

fn world() -> Instances {
    instances(&[
        instance("1", "orders", "10.0.0.1", Some("trading")),
        instance("2", "quotes", "10.0.0.2", Some("trading")),
        instance("3", "db", "10.0.0.3", None),
        instance("4", "cache", "10.0.0.3", None),
    ])
}

fn peer(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

#[test]
fn the_header_of_a_sidecar_names_the_instance() {
    let sender = Sender::of(Some("alloc-1"), peer(9), &world());
    assert_eq!((&*sender.name, sender.system.as_deref()), ("trading/orders", Some("trading")));
    let expected = [
        ("service.name", "orders"),
        ("service.namespace", "trading"),
        ("service.instance.id", "alloc-1"),
        ("mesh.allocation", "alloc-1"),
        ("host.name", "host-a"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(sender.origin.attributes(), expected);
}

#[test]
fn a_name_that_nobody_here_has_is_not_believed() {
    let sender = Sender::of(Some("alloc-99"), peer(9), &world());
    assert_eq!((&*sender.name, &*sender.label, sender.service), ("10.0.0.9", "unknown", None));
    assert_eq!(sender.origin.attributes(), [("host.name".to_owned(), "host-a".to_owned())]);
}

#[test]
fn an_address_names_the_instance_that_has_it_alone() {
    assert_eq!(&*Sender::of(None, peer(2), &world()).name, "trading/quotes");
    assert_eq!(&*Sender::of(None, peer(3), &world()).label, "unknown");
}

#[test]
fn an_envoy_is_recognised_by_its_spans() {
    let mut span = Vec::new();
    put_bytes(&mut span, 9, &text_attribute("component", "proxy"));
    put_bytes(&mut span, 9, &text_attribute("node_id", "alloc-2"));
    let (mut scope, mut resource, mut request) = (Vec::new(), Vec::new(), Vec::new());
    put_bytes(&mut scope, 2, &span);
    put_bytes(&mut resource, 2, &scope);
    put_bytes(&mut request, 1, &resource);
    let world = world();
    let sender = Sender::of(None, peer(9), &world).or_envoy_of(&request, &world);
    assert_eq!(&*sender.name, "trading/quotes");
    let named = Sender::of(Some("alloc-1"), peer(9), &world).or_envoy_of(&request, &world);
    assert_eq!(&*named.name, "trading/orders");
}
