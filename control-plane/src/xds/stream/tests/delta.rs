//! Delta: subscriptions and differences.

use super::proxy::*;
use crate::xds::stream::*;

const NOTHING: [&str; 0] = [];

#[test]
fn a_first_request_without_names_asks_for_all_clusters_and_listeners_only() {
    let world = [(Cluster, "a=1"), (Cluster, "b=1"), (Listener, "l=1"), (Endpoints, "a=1")];
    let mut proxy = Proxy::delta(&world);
    for kind in [Cluster, Endpoints, Listener, Routes, Secret] {
        proxy.ask(kind, &[]);
    }
    assert_eq!(proxy.told(), ["cluster a=1 b=1", "listener l=1"]);
}

#[test]
fn a_first_wildcard_request_is_answered_even_when_there_is_nothing() {
    let mut proxy = Proxy::delta(&[]);
    proxy.ask(Cluster, &[]);
    assert_eq!(proxy.told_and_acked(), ["cluster"]);
    proxy.ask(Cluster, &[]);
    assert_eq!(proxy.told(), NOTHING);
}

#[test]
fn the_explicit_wildcard_begins_and_ends_beside_names() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Cluster, "b=1")]);
    proxy.ask(Cluster, &["a"]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1"]);
    proxy.ask(Cluster, &["*"]);
    assert_eq!(proxy.told_and_acked(), ["cluster b=1"]);
    proxy.ask(Cluster, &["-*"]);
    proxy.change(&[(Cluster, "a=2"), (Cluster, "b=2")]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=2"]);
}

#[test]
fn naming_a_resource_keeps_the_legacy_wildcard() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Cluster, "b=1")]);
    proxy.ask(Cluster, &[]);
    proxy.told_and_acked();
    proxy.ask(Cluster, &["a"]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1"]);
    proxy.change(&[(Cluster, "b=2")]);
    assert_eq!(proxy.told_and_acked(), ["cluster b=2"]);
}

#[test]
fn a_name_asked_for_again_is_answered_again() {
    let mut proxy = Proxy::delta(&[(Endpoints, "a=1")]);
    for _ in 0..2 {
        proxy.ask(Endpoints, &["a"]);
        assert_eq!(proxy.told_and_acked(), ["endpoints a=1"]);
    }
    proxy.ask(Endpoints, &["-a"]);
    assert_eq!(proxy.told_and_acked(), NOTHING);
    proxy.ask(Endpoints, &["a"]);
    assert_eq!(proxy.told_and_acked(), ["endpoints a=1"]);
}

#[test]
fn a_name_that_does_not_exist_is_answered_and_sent_when_it_appears() {
    let mut proxy = Proxy::delta(&[]);
    for kind in [Cluster, Endpoints, Secret, Routes] {
        proxy.ask(kind, &["a"]);
    }
    let told = ["cluster -a", "endpoints -a", "secret -a", "routes a=none"];
    assert_eq!(proxy.told_and_acked(), told);
    proxy.change(&[(Endpoints, "a=1"), (Routes, "a=1")]);
    assert_eq!(proxy.told_and_acked(), ["endpoints a=1", "routes a=1"]);
}

#[test]
fn only_what_changed_is_sent() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Cluster, "b=1"), (Cluster, "c=1")]);
    proxy.ask(Cluster, &[]);
    proxy.told_and_acked();
    proxy.change(&[(Cluster, "a=2"), (Cluster, "-b"), (Cluster, "d=1")]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=2 d=1", "cluster -b"]);
    proxy.change(&[]);
    assert_eq!(proxy.told(), NOTHING);
}

#[test]
fn changes_in_generations_that_were_skipped_are_found() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Cluster, "b=1")]);
    proxy.ask(Cluster, &[]);
    proxy.told_and_acked();
    proxy.world.put(Cluster, "a", "2");
    proxy.world.publish();
    proxy.change(&[(Cluster, "b=2")]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=2 b=2"]);
}

#[test]
fn a_skipped_generation_costs_what_there_is_and_not_what_was_asked_for() {
    let mut proxy = Proxy::delta(&[(Endpoints, "a=1"), (Endpoints, "b=1")]);
    let missing: Vec<String> = (0..1000).map(|n| format!("missing-{n}")).collect();
    let names: Vec<&str> = missing.iter().map(String::as_str).chain(["a", "b"]).collect();
    proxy.ask(Endpoints, &names);
    proxy.told_and_acked();
    proxy.world.put(Endpoints, "a", "2");
    proxy.world.publish();
    proxy.change(&[(Endpoints, "missing-7=1")]);
    assert_eq!(proxy.stream.types[1].pending.len(), 3);
    assert_eq!(proxy.told_and_acked(), ["endpoints a=2 missing-7=1"]);
}

#[test]
fn a_change_that_is_taken_back_before_it_was_sent_is_never_sent() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1")]);
    proxy.ask(Cluster, &[]);
    proxy.told_and_acked();
    proxy.change(&[(Cluster, "a=2")]);
    proxy.change(&[(Cluster, "a=1")]);
    assert_eq!(proxy.told(), NOTHING);
}

#[test]
fn one_response_of_a_type_is_in_flight_and_the_next_carries_the_newest() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1")]);
    proxy.ask(Cluster, &[]);
    let first = proxy.next().unwrap();
    proxy.change(&[(Cluster, "a=2")]);
    proxy.change(&[(Cluster, "a=3")]);
    assert_eq!(proxy.told(), NOTHING);
    proxy.ack(&first);
    assert_eq!(proxy.told_and_acked(), ["cluster a=3"]);
}

#[test]
fn a_stale_or_foreign_nonce_answers_nothing_but_its_names_count() {
    let mut proxy = Proxy::delta(&[(Endpoints, "a=1"), (Endpoints, "b=1")]);
    proxy.ask(Endpoints, &["a"]);
    let first = proxy.next().unwrap();
    for answers in [Answers::Foreign, Answers::Nonce(first.nonce + 7), Answers::Nothing] {
        let names = Names::Change {
            subscribe: vec!["b".into()],
            unsubscribe: Vec::new(),
            initial: std::collections::BTreeMap::new(),
        };
        proxy.request(&Request { kind: Endpoints, answers, error: None, names });
        assert_eq!(proxy.told(), NOTHING);
    }
    proxy.ack(&first);
    assert_eq!(proxy.told_and_acked(), ["endpoints b=1"]);
}

#[test]
fn what_was_unsubscribed_before_it_was_sent_is_not_sent() {
    let mut proxy = Proxy::delta(&[(Endpoints, "a=1"), (Endpoints, "b=1")]);
    proxy.ask(Endpoints, &["a", "b"]);
    proxy.ask(Endpoints, &["-a"]);
    assert_eq!(proxy.told_and_acked(), ["endpoints b=1"]);
    proxy.change(&[(Endpoints, "a=2")]);
    assert_eq!(proxy.told(), NOTHING);
}

#[test]
fn dropping_a_name_that_a_wildcard_covers_is_answered() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1")]);
    proxy.ask(Cluster, &[]);
    proxy.ask(Cluster, &["a", "b"]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1 -b"]);
    proxy.ask(Cluster, &["-a", "-b"]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1 -b"]);
}

#[test]
fn a_reconnecting_proxy_gets_only_what_differs() {
    let mut proxy = Proxy::delta(&[
        (Cluster, "a=1"),
        (Cluster, "b=2"),
        (Cluster, "c=1"),
        (Endpoints, "a=1"),
        (Endpoints, "b=1"),
    ]);
    proxy.ask_holding(Cluster, &[], &["a=1", "b=1", "gone=1"]);
    let clusters = proxy.next().unwrap();
    assert_eq!(line(&clusters), "cluster b=2 c=1");
    // b was sent anew and warms until its endpoints come again; a did not change.
    proxy.ask_holding(Endpoints, &["a", "b"], &["a=1", "b=1"]);
    proxy.ask(Listener, &[]);
    proxy.ask(Routes, &[]);
    proxy.ack(&clusters);
    assert_eq!(proxy.told_and_acked(), ["endpoints b=1", "listener", "cluster -gone"]);
}

#[test]
fn a_reconnecting_proxy_that_has_everything_hears_nothing() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Endpoints, "a=1"), (Listener, "l=1")]);
    proxy.ask_holding(Cluster, &[], &["a=1"]);
    proxy.ask_holding(Endpoints, &["a"], &["a=1"]);
    proxy.ask_holding(Listener, &[], &["l=1"]);
    assert_eq!(proxy.told(), NOTHING);
}

#[test]
fn versions_that_are_not_ours_equal_nothing() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1")]);
    let initial = [("a".to_owned(), "7".to_owned())].into();
    let names = Names::Change { subscribe: Vec::new(), unsubscribe: Vec::new(), initial };
    let answers = Answers::Nothing;
    proxy.request(&Request { kind: Cluster, answers, error: None, names });
    assert_eq!(proxy.told(), ["cluster a=1"]);
}

#[test]
fn endpoints_and_routes_that_left_the_set_are_forgotten_without_a_word() {
    let mut proxy = Proxy::delta(&[(Endpoints, "a=1"), (Routes, "r=1")]);
    proxy.ask(Endpoints, &["a"]);
    proxy.ask(Routes, &["r"]);
    proxy.told_and_acked();
    proxy.change(&[(Endpoints, "-a"), (Routes, "-r")]);
    assert_eq!(proxy.told(), NOTHING);
    proxy.change(&[(Endpoints, "a=1"), (Routes, "r=1")]);
    assert_eq!(proxy.told_and_acked(), ["endpoints a=1", "routes r=1"]);
}

#[test]
fn a_big_answer_comes_in_pieces_each_after_the_ack_of_the_one_before() {
    let big = "x".repeat(400_000);
    let names: Vec<String> = (0..5).map(|n| format!("c{n}={big}")).collect();
    let world: Vec<_> = names.iter().map(|line| (Cluster, line.as_str())).collect();
    let mut proxy = Proxy::delta(&world);
    proxy.ask(Cluster, &[]);
    let mut sizes = Vec::new();
    while let Some(response) = proxy.next() {
        assert!(proxy.next().is_none());
        sizes.push(response.resources.len());
        proxy.ack(&response);
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[test]
fn too_many_or_too_long_names_end_the_stream_with_the_reason() {
    let mut proxy = Proxy::delta(&[]);
    let request = |subscribe: Vec<String>| Request {
        kind: Endpoints,
        answers: Answers::Nothing,
        error: None,
        names: Names::Change { subscribe, unsubscribe: Vec::new(), initial: [].into() },
    };
    let many = (0..=MAX_NAMES).map(|n| n.to_string()).collect();
    let error = proxy.stream.request(&request(many), proxy.now).unwrap_err();
    assert!(error.to_string().contains("100001 names exceeds 100000"), "{error}");
    let error = proxy.stream.request(&request(vec!["é".repeat(300)]), proxy.now).unwrap_err();
    assert!(error.to_string().contains("600 bytes exceeds 512"), "{error}");
}
