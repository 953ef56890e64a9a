//! Refusals: isolated, held back, visible.

use std::sync::Arc;

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
    let refused = Refused { version: Version::of(b"bad"), message: "b is bad".into() };
    let refusal = Refusal { kind: Cluster, name: "b".into(), refused, fallback: None };
    assert!(proxy.stream.take_events().contains(&Event::Quarantined(refusal)));
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

/// What a class knows after these proxies' events.
fn learn(proxies: &mut [&mut Proxy]) -> Arc<Quarantine> {
    let mut known = Quarantine::default();
    for (number, proxy) in proxies.iter_mut().enumerate() {
        for event in proxy.stream.take_events() {
            let next = match event {
                Event::Quarantined(refusal) => {
                    known.refuse(&Arc::from(number.to_string()), &refusal)
                }
                Event::Vindicated { kind, name, version } => known.accept(kind, &name, version),
                _ => None,
            };
            known = next.unwrap_or(known);
        }
    }
    Arc::new(known)
}

/// Two proxies that accepted `a=1` and refuse `a=bad`, and what their class knows then.
fn two_that_refuse(kind: ResourceType) -> Arc<Quarantine> {
    let mut proxies = [0, 1].map(|_| Proxy::delta(&[(kind, "a=1"), (kind, "b=1")]));
    for proxy in &mut proxies {
        proxy.ask(kind, &["a", "b"]);
        converge(proxy);
        proxy.change(&[(kind, "a=bad"), (kind, "b=2")]);
        converge(proxy);
    }
    let [first, second] = &mut proxies;
    learn(&mut [first, second])
}

#[test]
fn what_two_of_a_class_refused_others_get_as_it_was_accepted_last() {
    let known = two_that_refuse(Routes);
    let mut third = Proxy::delta(&[(Routes, "a=bad"), (Routes, "b=2")]);
    third.stream.quarantine(&known);
    third.ask(Routes, &["a", "b"]);
    assert_eq!(converge(&mut third), ["routes a=1 b=2"]);
    assert_eq!(states(&third), [("a".into(), "nacked"), ("b".into(), "acked")]);
    assert_eq!(third.stream.status().types[5].view().nacked[0].message, "a is bad");
    third.change(&[(Routes, "a=3")]);
    assert_eq!(converge(&mut third), ["routes a=3"], "new content is tried again");
}

#[test]
fn a_proxy_of_the_class_that_holds_an_older_version_keeps_it() {
    let known = two_that_refuse(Cluster);
    let mut third = Proxy::delta(&[(Cluster, "a=0"), (Cluster, "b=1")]);
    third.ask(Cluster, &[]);
    converge(&mut third);
    third.stream.quarantine(&known);
    third.change(&[(Cluster, "a=bad"), (Cluster, "b=2")]);
    assert_eq!(converge(&mut third), ["cluster b=2"]);
}

#[test]
fn what_one_of_a_class_accepts_is_held_back_from_none() {
    let known = two_that_refuse(Cluster);
    let mut third = Proxy::delta(&[(Cluster, "a=bad"), (Cluster, "b=2")]);
    third.ask(Cluster, &[]);
    let response = third.next().unwrap();
    third.stream.quarantine(&known);
    third.ack(&response);
    let vindicated =
        Event::Vindicated { kind: Cluster, name: "a".into(), version: Version::of(b"bad") };
    assert!(third.stream.take_events().contains(&vindicated));
    let known = known.accept(Cluster, &"a".into(), Version::of(b"bad")).unwrap();
    let mut fourth = Proxy::delta(&[(Cluster, "a=bad"), (Cluster, "b=2")]);
    fourth.stream.quarantine(&Arc::new(known));
    fourth.ask(Cluster, &[]);
    assert_eq!(fourth.told_and_acked(), ["cluster a=bad b=2"]);
}

#[test]
fn a_class_that_turns_out_to_accept_gets_what_was_held_back() {
    let known = two_that_refuse(Cluster);
    let mut third = Proxy::delta(&[(Cluster, "a=bad"), (Cluster, "b=2")]);
    third.stream.quarantine(&known);
    third.ask(Cluster, &[]);
    assert_eq!(third.told_and_acked(), ["cluster a=1 b=2"]);
    let known = known.accept(Cluster, &"a".into(), Version::of(b"bad")).unwrap();
    third.stream.quarantine(&Arc::new(known));
    assert_eq!(third.told_and_acked(), ["cluster a=bad"]);
}

#[test]
fn in_state_of_the_world_a_class_s_fallback_stands_in_the_list() {
    let known = two_that_refuse(Cluster);
    let mut third = Proxy::sotw(&[(Cluster, "a=bad"), (Cluster, "b=2")]);
    third.stream.quarantine(&known);
    third.list(Cluster, &[], "");
    assert_eq!(converge(&mut third), ["cluster a=1 b=2"]);
    third.change(&[(Cluster, "b=3")]);
    assert_eq!(converge(&mut third), ["cluster a=1 b=3"]);
}
