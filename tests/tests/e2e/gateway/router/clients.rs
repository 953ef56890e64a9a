//! Who a client is said to be, what it cannot say itself, and what is too much.

use std::collections::BTreeMap;

use lab::http::Answer;
use lab::world::RouterSetup;

use super::browser::Version;
use super::{Edge, SHOP, local};
use crate::scene::LOCAL;

pub(super) async fn check(edge: &Edge) {
    told(edge).await;
    too_much(edge).await;
}

/// What services are told of a client, and what a client cannot tell them.
async fn told(edge: &Edge) {
    let forged = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "outer.example.com"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-mesh-caller-system", "portfolio"),
        ("x_mesh_caller_system", "portfolio"),
        ("x-mesh-caller-service", "positions"),
        ("x-mesh-consumer", "mallory"),
        ("x-mesh-auth", "customers"),
        ("x-mesh-hops", "a,b,c,d,e,f,g,h,i"),
        ("x-mesh-convert", "quotes"),
    ];
    let heard = |answer: &Answer| -> BTreeMap<String, String> {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let all: BTreeMap<String, String> = serde_json::from_slice(&answer.body).unwrap();
        let is_told = |name: &String| {
            let name = name.replace('_', "-");
            name.starts_with("x-forwarded")
                || name.starts_with("x-mesh")
                || name == "forwarded"
                || name == "x-real-ip"
                || name == "x-envoy-upstream-rq-timeout-ms"
        };
        all.into_iter().filter(|(name, _)| is_told(name)).collect()
    };
    let expect = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let own = edge.scene.world.router_address();
    let by_path = edge.ask(own, "/trading/headers", &forged).await;
    assert_eq!(
        heard(&by_path),
        expect(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", LOCAL),
            ("x-forwarded-prefix", "/trading"),
            ("x-forwarded-proto", "http"),
            ("x-mesh-hops", "trading"),
        ])
    );
    let by_host = edge.browser.get(SHOP, Version::Two, "/headers", &forged).await;
    assert_eq!(
        heard(&by_host),
        expect(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", SHOP),
            ("x-forwarded-proto", "https"),
            ("x-mesh-hops", "trading"),
        ])
    );

    let behind = RouterSetup { trusted_hops: 1, ..RouterSetup::plain("behind", local()) };
    let router = edge.scene.world.start_router(&behind).await.unwrap();
    let through_proxy = edge.ask(behind.address, "/trading/headers", &forged).await;
    let heard = heard(&through_proxy);
    assert_eq!(
        heard
            .iter()
            .filter(|(name, _)| name.starts_with("x-forwarded") || name.contains("mesh"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
        expect(&[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "outer.example.com"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/trading"),
            ("x-forwarded-proto", "https"),
            ("x-mesh-hops", "trading"),
        ])
    );
    drop(router);
}

async fn too_much(edge: &Edge) {
    let names: Vec<String> = (0..120).map(|number| format!("x-filler-{number}")).collect();
    let own = edge.scene.world.router_address();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let (short, long) = ("x".repeat(50 * 1024), "x".repeat(70 * 1024));
    let few: Vec<(&str, &str)> = many.iter().take(70).copied().collect();
    for (headers, status) in [
        (few.as_slice(), 200),
        (many.as_slice(), 431),
        (&[("x-filler", short.as_str())][..], 200),
        (&[("x-filler", long.as_str())][..], 431),
    ] {
        let answer = edge.ask(own, "/trading/orders/7", headers).await;
        assert_eq!(answer.status, status, "{} headers: {}", headers.len(), answer.text());
    }
}
