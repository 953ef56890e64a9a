//! Token rules that change: whatever is in force, no route asks for what its filter does not have.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::jwt_requirement::RequiresType;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::{
    JwtAuthentication, JwtProvider, JwtRequirement, JwtRequirementOrList,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;

use super::proxy::{self, *};
use crate::xds::stream::*;

const NOTHING: [&str; 0] = [];

/// A filter's configuration with these requirements: `x` asks for the way `x`, `x or y` for one of the two. The issuer
/// of each way is the content.
pub(super) fn config(content: &str, requirements: &[ResourceName]) -> Vec<u8> {
    let one = |way: &str| JwtRequirement {
        requires_type: Some(RequiresType::ProviderName(way.to_owned())),
    };
    let requirement = |name: &ResourceName| match name.split_once(" or ") {
        None => one(name),
        Some((a, b)) => JwtRequirement {
            requires_type: Some(RequiresType::RequiresAny(JwtRequirementOrList {
                requirements: vec![one(a), one(b)],
            })),
        },
    };
    let ways = requirements.iter().flat_map(|name| name.split(" or "));
    let provider = JwtProvider { issuer: content.to_owned(), ..Default::default() };
    let ways: BTreeMap<&str, JwtProvider> = ways.map(|way| (way, provider.clone())).collect();
    // One entry at a time: envoy-types' maps have no order.
    let mut value = Vec::new();
    for (way, provider) in ways {
        let providers = [(way.to_owned(), provider)].into();
        value.extend(JwtAuthentication { providers, ..Default::default() }.encode_to_vec());
    }
    for name in requirements {
        let requirement_map = [(name.to_string(), requirement(name))].into();
        value.extend(JwtAuthentication { requirement_map, ..Default::default() }.encode_to_vec());
    }
    let typed_config = Some(Any { type_url: String::new(), value });
    let message = TypedExtensionConfig { name: content.to_owned(), typed_config };
    let type_url = Extension.type_url().to_owned();
    Any { type_url, value: message.encode_to_vec() }.encode_to_vec()
}

/// `2?x,y`; a way of another issuer than the content's is shown with it: `2?x@1,y`.
pub(super) fn line(content: &Encoded) -> String {
    let message = filter(content);
    let config = message.typed_config.unwrap();
    let config = JwtAuthentication::decode(config.value.as_slice()).unwrap();
    let ways: BTreeMap<_, _> = config.providers.into_iter().collect();
    let way = |way: &str| match &ways[way].issuer {
        own if *own == message.name => way.to_owned(),
        other => format!("{way}@{other}"),
    };
    let asked: BTreeSet<_> = config.requirement_map.into_keys().collect();
    assert!(asked.iter().map(String::as_str).eq(content.requirements.iter().map(|it| &**it)));
    let named: BTreeSet<&str> = asked.iter().flat_map(|name| name.split(" or ")).collect();
    assert!(ways.keys().eq(named), "no way is there that nobody asks for");
    let asked =
        asked.iter().map(|name| name.split(" or ").map(way).collect::<Vec<_>>().join(" or "));
    format!("{}?{}", message.name, asked.collect::<Vec<_>>().join(","))
}

fn filter(content: &Encoded) -> TypedExtensionConfig {
    let any = Any::decode(content.any.clone()).unwrap();
    TypedExtensionConfig::decode(any.value.as_slice()).unwrap()
}

/// Whether a proxy that refuses content `bad` refuses this.
pub(super) fn is_bad(content: &Encoded) -> bool {
    match (content.kind, content.any.first()) {
        (Extension, Some(0x0a)) => filter(content).name.starts_with("bad"),
        _ => content.any.starts_with(b"bad"),
    }
}

/// A proxy with a listener, a filter `f` and routes `r`.
fn settled(mode: Mode, filter: &str, routes: &str) -> Proxy {
    let mut proxy =
        Proxy::new(mode, world(&[(Listener, "l=1"), (Extension, filter), (Routes, routes)]));
    for (kind, names) in
        [(Cluster, vec![]), (Listener, vec![]), (Extension, vec!["f"]), (Routes, vec!["r"])]
    {
        match mode {
            Mode::Delta => proxy.ask(kind, &names),
            Mode::Sotw => proxy.list(kind, &names, ""),
        }
        proxy.told_and_acked();
    }
    proxy
}

fn state(proxy: &Proxy, kind: ResourceType) -> &'static str {
    let status = proxy.stream.status();
    let of = status.types.iter().find(|of| of.kind == kind).unwrap();
    of.resources.first().unwrap().state.as_str()
}

#[test]
fn a_filter_keeps_what_routes_in_force_ask_for_until_none_does() {
    for mode in [Mode::Delta, Mode::Sotw] {
        let mut proxy = settled(mode, "f=1?x", "r=1?x");
        proxy.change(&[(Extension, "f=2?y"), (Routes, "r=2?y")]);
        assert_eq!(
            proxy.told_and_acked(),
            ["extension f=2?x@1,y", "routes r=2?y", "extension f=2?y"]
        );
        assert_eq!((state(&proxy, Extension), state(&proxy, Routes)), ("acked", "acked"));
        assert_eq!(proxy.stream.deadline(), None, "nothing is left to do");
    }
}

#[test]
fn the_last_requirement_leaves_after_the_routes_that_asked_for_it() {
    let mut proxy = settled(Mode::Delta, "f=1?x", "r=1?x");
    proxy.change(&[(Extension, "f=2?"), (Routes, "r=2")]);
    assert_eq!(proxy.told_and_acked(), ["extension f=2?x@1", "routes r=2", "extension f=2?"]);
}

#[test]
fn a_way_that_stays_is_at_once_as_the_new_rules_have_it() {
    let mut proxy = settled(Mode::Delta, "f=1?x or y", "r=1?x or y");
    proxy.change(&[(Extension, "f=2?x"), (Routes, "r=2?x")]);
    assert_eq!(
        proxy.told_and_acked(),
        ["extension f=2?x,x or y@1", "routes r=2?x", "extension f=2?x"]
    );
    proxy.change(&[(Extension, "f=3?x"), (Routes, "r=3?x")]);
    assert_eq!(proxy.told_and_acked(), ["extension f=3?x", "routes r=3?x"]);
}

#[test]
fn old_rules_stay_while_new_routes_wait_for_their_cluster() {
    let mut proxy = settled(Mode::Delta, "f=1?x", "r=1?x");
    proxy.change(&[(Cluster, "a=1"), (Extension, "f=2?y"), (Routes, "r=2>a?y")]);
    let cluster = proxy.next().unwrap();
    let filter = proxy.next().unwrap();
    assert_eq!(proxy::line(&filter), "extension f=2?x@1,y");
    proxy.ack(&filter);
    assert_eq!(proxy.told(), NOTHING, "the cluster warms");
    proxy.ack(&cluster);
    let routes = proxy.next().unwrap();
    assert_eq!(proxy::line(&routes), "routes r=2>a?y");
    assert_eq!(proxy.told(), NOTHING, "the routes may not be in force yet");
    proxy.ack(&routes);
    assert_eq!(proxy.told(), ["extension f=2?y"]);
}

#[test]
fn refused_routes_keep_their_rules_and_no_others_however_often_these_change() {
    let mut proxy = settled(Mode::Delta, "f=1?x", "r=1?x");
    for (filter, routes, told) in [("f=2?y", "r=2?y", "f=2?x@1,y"), ("f=3?z", "r=3?z", "f=3?x@1,z")]
    {
        proxy.change(&[(Extension, filter), (Routes, routes)]);
        let filter = proxy.next().unwrap();
        assert_eq!(proxy::line(&filter), format!("extension {told}"));
        proxy.ack(&filter);
        let routes = proxy.next().unwrap();
        proxy.nack(&routes, "bad routes");
        assert_eq!(proxy.told(), NOTHING);
        assert_eq!((state(&proxy, Extension), state(&proxy, Routes)), ("acked", "nacked"));
    }
    proxy.change(&[(Extension, "f=4?z"), (Routes, "r=4?z")]);
    assert_eq!(proxy.told_and_acked(), ["extension f=4?x@1,z", "routes r=4?z", "extension f=4?z"]);
}

#[test]
fn a_proxy_that_refuses_the_old_rules_beside_the_new_ones_gets_these_alone() {
    let mut proxy = settled(Mode::Delta, "f=1?x", "r=1?x");
    proxy.change(&[(Extension, "f=2?y"), (Routes, "r=2?y")]);
    let both = proxy.next().unwrap();
    proxy.nack(&both, "too much");
    assert_eq!(proxy.told_and_acked(), ["routes r=2?y", "extension f=2?y"]);
}

#[test]
fn rules_that_change_again_on_the_way_are_bridged_from_what_is_there_by_then() {
    let mut proxy = settled(Mode::Delta, "f=1?x", "r=1?x");
    proxy.change(&[(Extension, "f=2?y"), (Routes, "r=2?y")]);
    let filter = proxy.next().unwrap();
    let routes = proxy.next().unwrap();
    proxy.change(&[(Extension, "f=3?z"), (Routes, "r=3?z")]);
    assert_eq!(proxy.told(), NOTHING, "neither has been answered");
    proxy.ack(&filter);
    let both = proxy.next().unwrap();
    assert_eq!(proxy::line(&both), "extension f=3?x@1,y@2,z", "one of the two is in force");
    proxy.ack(&both);
    proxy.ack(&routes);
    assert_eq!(proxy.told_and_acked(), ["extension f=3?y@2,z", "routes r=3?z", "extension f=3?z"]);
}

#[test]
fn a_client_without_routes_gets_new_rules_alone() {
    let mut proxy = Proxy::delta(&[(Extension, "f=1?x"), (Routes, "r=1?x")]);
    proxy.ask(Extension, &["f"]);
    proxy.told_and_acked();
    proxy.change(&[(Extension, "f=2?y"), (Routes, "r=2?y")]);
    assert_eq!(proxy.told_and_acked(), ["extension f=2?y"]);
}

#[test]
fn routes_that_nobody_asks_for_any_more_keep_no_rules() {
    let mut proxy = settled(Mode::Delta, "f=1?x", "r=1?x");
    proxy.change(&[(Cluster, "a=1"), (Extension, "f=2?y"), (Routes, "r=2>a?y")]);
    assert_eq!(proxy.told().last().unwrap(), "extension f=2?x@1,y");
    proxy.answer(Extension, proxy.stream.nonce, None);
    proxy.ask(Routes, &["-r"]);
    assert_eq!(proxy.told(), ["extension f=2?y"]);
}
