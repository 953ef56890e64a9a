//! State of the world: whole lists in, whole or partial states out.

use super::proxy::*;
use crate::xds::stream::*;

const NOTHING: [&str; 0] = [];

#[test]
fn clusters_and_listeners_travel_whole_endpoints_and_routes_as_far_as_they_changed() {
    let mut proxy =
        Proxy::sotw(&[(Cluster, "a=1"), (Cluster, "b=1"), (Endpoints, "a=1"), (Endpoints, "b=1")]);
    proxy.list(Cluster, &[], "");
    proxy.list(Endpoints, &["a", "b"], "");
    assert_eq!(proxy.told_and_acked(), ["cluster a=1 b=1", "endpoints a=1 b=1"]);
    proxy.change(&[(Cluster, "c=1"), (Endpoints, "b=2")]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1 b=1 c=1", "endpoints b=2"]);
    proxy.change(&[(Cluster, "-a")]);
    assert_eq!(proxy.told_and_acked(), ["cluster b=1 c=1"]);
}

#[test]
fn a_first_wildcard_request_is_answered_even_when_there_is_nothing() {
    let mut proxy = Proxy::sotw(&[]);
    proxy.list(Listener, &[], "");
    assert_eq!(proxy.told_and_acked(), ["listener"]);
}

#[test]
fn names_replace_the_legacy_wildcard_and_an_empty_list_then_means_nothing() {
    let mut proxy = Proxy::sotw(&[(Cluster, "a=1"), (Cluster, "b=1")]);
    proxy.list(Cluster, &[], "");
    proxy.told_and_acked();
    proxy.list(Cluster, &["*", "a"], "");
    proxy.told_and_acked();
    proxy.list(Cluster, &["a"], "");
    proxy.change(&[(Cluster, "b=2")]);
    assert_eq!(proxy.told_and_acked(), NOTHING);
    proxy.list(Cluster, &[], "");
    proxy.change(&[(Cluster, "a=2")]);
    assert_eq!(proxy.told_and_acked(), NOTHING);
}

#[test]
fn a_new_name_in_the_list_is_answered_alone_where_partial_states_are_allowed() {
    let mut proxy = Proxy::sotw(&[(Endpoints, "a=1"), (Endpoints, "b=1")]);
    proxy.list(Endpoints, &["a"], "");
    assert_eq!(proxy.told_and_acked(), ["endpoints a=1"]);
    proxy.list(Endpoints, &["a", "b"], "");
    assert_eq!(proxy.told_and_acked(), ["endpoints b=1"]);
    proxy.list(Endpoints, &["b"], "");
    proxy.change(&[(Endpoints, "a=2")]);
    assert_eq!(proxy.told_and_acked(), NOTHING);
    proxy.list(Endpoints, &["a", "b"], "");
    assert_eq!(proxy.told_and_acked(), ["endpoints a=2"]);
}

#[test]
fn a_missing_listener_is_told_by_its_absence_and_missing_routes_by_empty_ones() {
    let mut proxy = Proxy::sotw(&[]);
    proxy.list(Listener, &["l"], "");
    proxy.list(Routes, &["r"], "");
    proxy.list(Endpoints, &["a"], "");
    assert_eq!(proxy.told_and_acked(), ["listener", "routes r=none"]);
    proxy.change(&[(Listener, "l=1"), (Endpoints, "a=1")]);
    assert_eq!(proxy.told_and_acked(), ["endpoints a=1", "listener l=1"]);
}

#[test]
fn names_in_a_request_with_a_stale_nonce_count_but_it_acks_nothing() {
    let mut proxy = Proxy::sotw(&[(Endpoints, "a=1"), (Endpoints, "b=1")]);
    proxy.list(Endpoints, &["a"], "");
    let first = proxy.next().unwrap();
    let names = whole(&["a", "b"], "");
    let answers = Answers::Nonce(first.nonce + 1);
    proxy.request(&Request { kind: Endpoints, answers, error: None, names });
    assert_eq!(proxy.told(), NOTHING);
    proxy.ack(&first);
    assert_eq!(proxy.told_and_acked(), ["endpoints b=1"]);
}

#[test]
fn a_version_alone_is_no_refusal() {
    let mut proxy = Proxy::sotw(&[(Cluster, "a=1")]);
    proxy.list(Cluster, &[], "");
    let first = proxy.next().unwrap();
    let (answers, names) = (Answers::Nonce(first.nonce), whole(&[], "an older version"));
    proxy.request(&Request { kind: Cluster, answers, error: None, names });
    assert_eq!(proxy.stream.status().types[0].view().acked, 1);
}

#[test]
fn a_reconnecting_proxy_that_has_all_clusters_and_listeners_hears_nothing_of_them() {
    let resources = [(Cluster, "a=1"), (Endpoints, "a=1"), (Listener, "l=1")];
    let mut proxy = Proxy::sotw(&resources);
    let mut versions = Vec::new();
    for (kind, names) in [(Cluster, vec![]), (Endpoints, vec!["a"]), (Listener, vec![])] {
        proxy.list(kind, &names, "");
        let response = proxy.next().unwrap();
        versions.push((kind, names, response.version.unwrap().to_string()));
        proxy.ack(&response);
    }
    let mut again = Proxy::sotw(&resources);
    for (kind, names, version) in &versions {
        again.list(*kind, names, version);
    }
    // A list of names may have lost one and got it back since its version was seen.
    assert_eq!(again.told_and_acked(), ["endpoints a=1"]);
    again.change(&[(Endpoints, "a=2"), (Cluster, "b=1")]);
    assert_eq!(again.told_and_acked(), ["cluster a=1 b=1", "endpoints a=2"]);
}

#[test]
fn a_reconnecting_proxy_whose_version_differs_gets_the_state() {
    let mut proxy = Proxy::sotw(&[(Cluster, "a=1")]);
    proxy.list(Cluster, &[], "3d6f4e0a9c5b2e1f3d6f4e0a9c5b2e1f");
    assert_eq!(proxy.told(), ["cluster a=1"]);
}

#[test]
fn equal_states_have_equal_versions_whatever_led_to_them() {
    let version_of = |proxy: &mut Proxy| {
        let mut version = None;
        while let Some(response) = proxy.next() {
            version = response.version;
            proxy.ack(&response);
        }
        version.unwrap()
    };
    let mut straight = Proxy::sotw(&[(Endpoints, "a=2"), (Endpoints, "b=1")]);
    straight.list(Endpoints, &["a", "b"], "");
    let mut crooked = Proxy::sotw(&[(Endpoints, "a=1"), (Endpoints, "b=1")]);
    crooked.list(Endpoints, &["a"], "");
    version_of(&mut crooked);
    crooked.list(Endpoints, &["a", "b"], "");
    crooked.change(&[(Endpoints, "a=2")]);
    assert_eq!(version_of(&mut straight), version_of(&mut crooked));
}
