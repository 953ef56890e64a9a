//! Make before break: order and gates.

use super::proxy::*;
use crate::xds::stream::*;

const NOTHING: [&str; 0] = [];

/// A proxy that has cluster `a` with endpoints, a listener and routes to it.
fn settled(mode: Mode) -> Proxy {
    let resources = [(Cluster, "a=1"), (Endpoints, "a=1"), (Listener, "l=1"), (Routes, "r=1>a")];
    let mut proxy = Proxy::new(mode, world(&resources));
    for (kind, names) in
        [(Cluster, vec![]), (Endpoints, vec!["a"]), (Listener, vec![]), (Routes, vec!["r"])]
    {
        match mode {
            Mode::Delta => proxy.ask(kind, &names),
            Mode::Sotw => proxy.list(kind, &names, ""),
        }
        proxy.told_and_acked();
    }
    proxy
}

#[test]
fn what_is_new_goes_top_down_and_what_leaves_goes_last() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[
        (Cluster, "b=1"),
        (Endpoints, "b=1"),
        (Listener, "l=2"),
        (Routes, "r=2>b"),
        (Cluster, "-a"),
        (Endpoints, "-a"),
    ]);
    let clusters = proxy.next().unwrap();
    assert_eq!(line(&clusters), "cluster b=1");
    assert_eq!(proxy.told(), ["listener l=2"]);
    proxy.ask(Endpoints, &["b", "-a"]);
    let endpoints = proxy.next().unwrap();
    assert_eq!(line(&endpoints), "endpoints b=1");
    // The cluster warms: routes to it wait, and so does the removal of the old one.
    assert_eq!(proxy.told(), NOTHING);
    proxy.ack(&endpoints);
    proxy.ack(&clusters);
    let routes = proxy.next().unwrap();
    assert_eq!(line(&routes), "routes r=2>b");
    assert_eq!(proxy.told(), NOTHING);
    proxy.ack(&routes);
    assert_eq!(proxy.told(), NOTHING, "the listener is not ACKed yet");
    proxy.answer(Listener, clusters.nonce + 1, None);
    assert_eq!(proxy.told(), ["cluster -a"]);
}

#[test]
fn routes_do_not_overtake_what_a_filter_is_told() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Extension, "f=1")]);
    proxy.ask(Extension, &["f"]);
    assert_eq!(proxy.told_and_acked(), ["extension f=1"]);
    // A token rule of a new issuer: the filter's configuration waits for the cluster that its keys come from.
    proxy.change(&[(Cluster, "b=1"), (Extension, "f=2>b"), (Routes, "r=2>a")]);
    let clusters = proxy.next().unwrap();
    assert_eq!(line(&clusters), "cluster b=1");
    assert_eq!(
        proxy.told(),
        NOTHING,
        "until it is told, the filter refuses what the routes ask of it"
    );
    proxy.ack(&clusters);
    let filter = proxy.next().unwrap();
    assert_eq!(line(&filter), "extension f=2>b");
    assert_eq!(proxy.told(), ["routes r=2>a"]);
    // Nor what cannot be told yet, because the one before is unanswered.
    proxy.answer(Routes, filter.nonce + 1, None);
    proxy.change(&[(Extension, "f=3"), (Routes, "r=3>a")]);
    assert_eq!(proxy.told(), NOTHING);
    proxy.ack(&filter);
    assert_eq!(proxy.told(), ["extension f=3", "routes r=3>a"]);
}

#[test]
fn endpoints_and_secrets_are_owed_again_after_their_cluster_was_sent() {
    let mut proxy = settled(Mode::Delta);
    proxy.ask(Secret, &["leaf"]);
    proxy.told_and_acked();
    proxy.change(&[(Secret, "leaf=1")]);
    assert_eq!(proxy.told_and_acked(), ["secret leaf=1"]);
    proxy.change(&[(Cluster, "a=2")]);
    assert_eq!(proxy.told(), ["cluster a=2", "endpoints a=1", "secret leaf=1"]);
}

#[test]
fn endpoints_flow_while_clusters_wait_for_their_ack() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Cluster, "a=2")]);
    assert_eq!(proxy.told().len(), 2);
    proxy.answer(Endpoints, proxy.stream.nonce, None);
    for content in ["a=2", "a=3"] {
        proxy.change(&[(Endpoints, content)]);
        assert_eq!(proxy.told(), [format!("endpoints {content}")]);
        proxy.answer(Endpoints, proxy.stream.nonce, None);
    }
}

#[test]
fn routes_that_waited_for_a_cluster_go_after_fifteen_seconds() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Cluster, "b=1"), (Routes, "r=2>b")]);
    assert_eq!(proxy.told(), ["cluster b=1"]);
    let deadline = proxy.stream.deadline().unwrap();
    assert_eq!(deadline - proxy.now, Gate::ClustersHeld.patience());
    proxy.wait(14);
    assert_eq!(proxy.told(), NOTHING);
    proxy.wait(1);
    assert_eq!(proxy.told(), ["routes r=2>b"]);
    let expired = Event::GateExpired { kind: Routes, name: "r".into() };
    assert!(proxy.stream.take_events().contains(&expired));
}

#[test]
fn a_cluster_leaves_after_ten_seconds_though_its_referrer_was_never_acked() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Cluster, "b=1"), (Routes, "r=2>b"), (Cluster, "-a")]);
    let clusters = proxy.next().unwrap();
    proxy.ack(&clusters);
    assert_eq!(proxy.told(), ["routes r=2>b"]);
    proxy.wait(10);
    assert_eq!(proxy.told(), ["cluster -a"]);
}

#[test]
fn a_cluster_that_routes_in_force_still_name_because_new_ones_were_refused_leaves_late() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Routes, "r=bad"), (Cluster, "-a")]);
    let routes = proxy.next().unwrap();
    proxy.nack(&routes, "bad routes");
    assert_eq!(proxy.told(), NOTHING, "the routes in force name it");
    proxy.wait(10);
    assert_eq!(proxy.told(), ["cluster -a"]);
}

#[test]
fn listeners_leave_before_clusters() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Cluster, "-a"), (Endpoints, "-a"), (Listener, "-l"), (Routes, "-r")]);
    assert_eq!(proxy.told_and_acked(), ["listener -l", "cluster -a"]);
}

#[test]
fn clusters_from_an_earlier_stream_stay_until_listeners_and_routes_were_asked_for() {
    let mut proxy = Proxy::delta(&[(Cluster, "b=1"), (Listener, "l=1"), (Routes, "r=2>b")]);
    proxy.ask_holding(Cluster, &[], &["a=1", "b=1"]);
    assert_eq!(proxy.told_and_acked(), NOTHING);
    proxy.ask_holding(Listener, &[], &["l=1"]);
    assert_eq!(proxy.told_and_acked(), NOTHING);
    proxy.ask_holding(Routes, &["r"], &["r=1"]);
    assert_eq!(proxy.told_and_acked(), ["routes r=2>b", "cluster -a"]);
}

#[test]
fn a_client_that_names_its_clusters_gets_routes_first() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Listener, "l=1>a"), (Routes, "r=1>a")]);
    proxy.ask(Listener, &["l"]);
    proxy.ask(Routes, &["r"]);
    assert_eq!(proxy.told_and_acked(), ["listener l=1>a", "routes r=1>a"]);
    proxy.ask(Cluster, &["a"]);
    assert_eq!(proxy.told_and_acked(), ["cluster a=1"]);
}

#[test]
fn routes_do_not_wait_for_clusters_that_are_not_served_or_refused() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Cluster, "b=1"), (Routes, "r=2>b,static")]);
    let clusters = proxy.next().unwrap();
    proxy.nack(&clusters, "bad cluster");
    assert_eq!(proxy.told(), ["routes r=2>b,static"]);
}

#[test]
fn a_response_that_is_never_acked_is_overtaken_after_thirty_seconds() {
    let mut proxy = settled(Mode::Delta);
    proxy.change(&[(Cluster, "b=1")]);
    let first = proxy.next().unwrap();
    proxy.wait(30);
    assert_eq!(proxy.told(), NOTHING, "nothing new, nothing to say");
    assert!(proxy.stream.take_events().contains(&Event::AckOverdue { kind: Cluster }));
    proxy.change(&[(Cluster, "c=1")]);
    let second = proxy.next().unwrap();
    assert_eq!(line(&second), "cluster c=1");
    proxy.ack(&first);
    proxy.ack(&second);
    assert_eq!(proxy.told(), NOTHING);
    let status = proxy.stream.status();
    assert!(status.types[0].resources.iter().all(|r| r.state == ResourceState::Acked));
}

#[test]
fn in_state_of_the_world_a_cluster_that_leaves_stays_listed_until_its_routes_changed() {
    let mut proxy = settled(Mode::Sotw);
    proxy.change(&[(Cluster, "b=1"), (Routes, "r=2>b"), (Cluster, "-a")]);
    let told = ["cluster a=1 b=1", "routes r=2>b", "cluster b=1"];
    let mut lines = Vec::new();
    while let Some(response) = proxy.next() {
        lines.push(line(&response));
        proxy.ack(&response);
    }
    assert_eq!(
        lines.iter().filter(|line| !line.starts_with("endpoints")).collect::<Vec<_>>(),
        told
    );
}
