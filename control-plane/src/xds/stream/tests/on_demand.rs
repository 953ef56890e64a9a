//! Clusters that only go to who asks for them by name (ODCDS).

use super::proxy::*;
use crate::xds::stream::*;

const NOTHING: [&str; 0] = [];

/// A world of two clusters, `b` on demand.
fn two() -> World {
    let mut world = world(&[(Cluster, "a=1"), (Cluster, "b=1")]);
    world.on_demand(&["b"]);
    world
}

#[test]
fn a_wildcard_brings_all_but_what_is_on_demand() {
    let mut proxy = Proxy::new(Mode::Delta, two());
    proxy.ask(Cluster, &[]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1"]);
    proxy.ask(Cluster, &["b"]);
    assert_eq!(proxy.told_and_acked(), ["cluster b=1"]);
    proxy.change(&[(Cluster, "a=2"), (Cluster, "b=2")]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=2 b=2"]);
    proxy.change(&[(Cluster, "-b")]);
    assert_eq!(proxy.told_and_acked(), ["cluster -b"]);
}

#[test]
fn changes_of_what_nobody_asked_for_are_not_told() {
    let mut proxy = Proxy::new(Mode::Delta, two());
    proxy.ask(Cluster, &[]);
    proxy.told_and_acked();
    proxy.change(&[(Cluster, "b=2")]);
    assert_eq!(proxy.told(), NOTHING);
    proxy.change(&[(Cluster, "-b")]);
    assert_eq!(proxy.told(), NOTHING);
    proxy.ask(Cluster, &["b"]);
    assert_eq!(
        proxy.told_and_acked(),
        ["cluster -b"],
        "at once, so that the request fails at once"
    );
}

#[test]
fn routes_do_not_wait_for_clusters_that_nobody_asked_for() {
    let mut world = two();
    world.put(Routes, "egress", "1>a,b");
    let mut proxy = Proxy::new(Mode::Delta, world);
    proxy.ask(Cluster, &[]);
    proxy.ask(Routes, &["egress"]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1", "routes egress=1>a,b"]);
}

#[test]
fn what_was_sent_stays_current_when_it_comes_to_be_on_demand() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Cluster, "b=1")]);
    proxy.ask(Cluster, &[]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1 b=1"]);
    proxy.world.on_demand(&["b"]);
    proxy.change(&[(Cluster, "b=2")]);
    assert_eq!(proxy.told_and_acked(), ["cluster b=2"]);
}

#[test]
fn what_is_no_longer_on_demand_goes_to_all() {
    let mut proxy = Proxy::new(Mode::Delta, two());
    proxy.ask(Cluster, &[]);
    proxy.told_and_acked();
    proxy.world.on_demand(&[]);
    proxy.change(&[]);
    assert_eq!(proxy.told_and_acked(), ["cluster b=1"]);
}

#[test]
fn state_of_the_world_knows_no_demand() {
    let mut proxy = Proxy::new(Mode::Sotw, two());
    proxy.list(Cluster, &[], "");
    assert_eq!(proxy.told_and_acked(), ["cluster a=1 b=1"]);
}
