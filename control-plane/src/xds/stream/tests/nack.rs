//! Refusals: isolated, held back, visible.

use super::proxy::*;
use crate::xds::stream::*;

const NOTHING: [&str; 0] = [];

/// Answers like Envoy: refuses a response that has a resource with bad content in it.
fn converge(proxy: &mut Proxy) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(response) = proxy.next() {
        lines.push(line(&response));
        let bad = response.resources.iter().find(|content| content.any.starts_with(b"bad"));
        match bad {
            Some(content) => proxy.nack(&response, &format!("{} is bad", content.name)),
            None => proxy.ack(&response),
        }
    }
    lines
}

fn states(proxy: &Proxy) -> Vec<(String, &'static str)> {
    let status = proxy.stream.status();
    let resources = status.types.iter().flat_map(|of| &of.resources);
    resources.map(|r| (r.name.to_string(), r.state.as_str())).collect()
}

#[test]
fn the_one_bad_cluster_of_four_is_found_and_all_others_land() {
    let mut proxy =
        Proxy::delta(&[(Cluster, "a=1"), (Cluster, "b=bad"), (Cluster, "c=1"), (Cluster, "d=1")]);
    proxy.ask(Cluster, &[]);
    assert_eq!(
        converge(&mut proxy),
        [
            "cluster a=1 b=bad c=1 d=1",
            "cluster a=1 b=bad",
            "cluster a=1",
            "cluster b=bad",
            "cluster c=1 d=1"
        ]
    );
    let expected = [("a", "acked"), ("b", "nacked"), ("c", "acked"), ("d", "acked")];
    assert_eq!(states(&proxy), expected.map(|(name, state)| (name.to_owned(), state)));
    let view = proxy.stream.status().types[0].view();
    assert_eq!((view.acked, view.pending), (3, 0));
    assert_eq!(view.nacked[0].message, "b is bad");
    let quarantined =
        Event::Quarantined { kind: Cluster, name: "b".into(), message: "b is bad".into() };
    assert!(proxy.stream.take_events().contains(&quarantined));
}

#[test]
fn a_refused_resource_is_not_resent_until_its_content_changes() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1"), (Cluster, "b=bad")]);
    proxy.ask(Cluster, &[]);
    converge(&mut proxy);
    proxy.change(&[(Cluster, "a=2")]);
    assert_eq!(converge(&mut proxy), ["cluster a=2"]);
    proxy.change(&[(Cluster, "b=2")]);
    assert_eq!(converge(&mut proxy), ["cluster b=2"]);
    proxy.change(&[(Cluster, "b=bad")]);
    assert_eq!(converge(&mut proxy), NOTHING, "refused earlier on this stream");
    assert_eq!(states(&proxy), [("a".into(), "acked"), ("b".into(), "nacked")]);
}

#[test]
fn a_proxy_that_asks_again_for_what_it_refused_gets_what_it_accepted_last() {
    let mut proxy = Proxy::delta(&[(Endpoints, "a=1"), (Endpoints, "b=bad")]);
    proxy.ask(Endpoints, &["a"]);
    converge(&mut proxy);
    proxy.change(&[(Endpoints, "a=bad")]);
    proxy.ask(Endpoints, &["b"]);
    converge(&mut proxy);
    proxy.ask(Endpoints, &["a", "b"]);
    // b was never accepted: its cluster must not keep warming.
    assert_eq!(converge(&mut proxy), ["endpoints a=1 -b"]);
}

#[test]
fn new_content_that_comes_while_isolating_is_tried_in_place_of_the_old() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=bad"), (Cluster, "b=1")]);
    proxy.ask(Cluster, &[]);
    let first = proxy.next().unwrap();
    proxy.change(&[(Cluster, "a=2")]);
    proxy.nack(&first, "a is bad");
    assert_eq!(converge(&mut proxy), ["cluster b=1", "cluster a=2"]);
}

#[test]
fn what_is_unsubscribed_while_isolating_is_not_tried() {
    let mut proxy = Proxy::delta(&[(Endpoints, "a=bad"), (Endpoints, "b=1")]);
    proxy.ask(Endpoints, &["a", "b"]);
    let first = proxy.next().unwrap();
    proxy.nack(&first, "a is bad");
    proxy.ask(Endpoints, &["-a"]);
    assert_eq!(converge(&mut proxy), ["endpoints b=1"]);
}

#[test]
fn listeners_that_clash_only_with_each_other_land_one_by_one() {
    let mut proxy = Proxy::delta(&[(Listener, "a=1"), (Listener, "b=1")]);
    proxy.ask(Listener, &[]);
    let both = proxy.next().unwrap();
    proxy.nack(&both, "cannot take both at once");
    assert_eq!(proxy.told_and_acked(), ["listener a=1", "listener b=1"]);
    assert_eq!(states(&proxy), [("a".into(), "acked"), ("b".into(), "acked")]);
}

#[test]
fn a_refused_removal_is_not_repeated() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1")]);
    proxy.ask(Cluster, &[]);
    proxy.told_and_acked();
    proxy.change(&[(Cluster, "-a")]);
    let removal = proxy.next().unwrap();
    proxy.nack(&removal, "no");
    assert_eq!(proxy.told(), NOTHING);
}

#[test]
fn a_refusal_of_a_stale_response_counts_for_nothing() {
    let mut proxy = Proxy::delta(&[(Cluster, "a=1")]);
    proxy.ask(Cluster, &[]);
    let first = proxy.next().unwrap();
    proxy.answer(Cluster, first.nonce + 1, Some("about something else"));
    proxy.ack(&first);
    assert_eq!(states(&proxy), [("a".into(), "acked")]);
}

#[test]
fn in_state_of_the_world_a_refused_cluster_is_listed_as_it_was_accepted_last() {
    let mut proxy = Proxy::sotw(&[(Cluster, "a=1"), (Cluster, "b=1"), (Cluster, "new=bad")]);
    proxy.list(Cluster, &[], "");
    assert_eq!(
        converge(&mut proxy),
        [
            "cluster a=1 b=1 new=bad",
            "cluster a=1",
            "cluster a=1 b=1 new=bad",
            "cluster a=1 b=1",
            "cluster a=1 b=1 new=bad"
        ]
    );
    proxy.change(&[(Cluster, "a=bad"), (Cluster, "b=2")]);
    let lines = converge(&mut proxy);
    assert_eq!(lines.last().unwrap(), "cluster a=1 b=2");
    proxy.change(&[(Cluster, "c=1")]);
    assert_eq!(converge(&mut proxy), ["cluster a=1 b=2 c=1"]);
}
