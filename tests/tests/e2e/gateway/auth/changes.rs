//! Rules that change under load: whom the old ones and the new ones let in is refused in no moment between them.

use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::Bytes;
use contract::registration::Protocol;
use http::{Request, header};
use serde_json::json;

use super::issuer::Issuer;
use crate::scene::{LOCAL, Scene, judge, soon};

/// Changes of the document.
const CHANGES: usize = 30;

/// A document with one way of this name, whose routes besides `/orders` lead to these services.
fn document(way: &str, issuer: &Issuer, others: &[&str]) -> String {
    let jwks = issuer.jwks();
    let route = |service: &&str| {
        format!("- {{match: {{prefix: /{service}}}, to: {service}, rewrite: /orders}}\n")
    };
    format!(
        "\
kind: System
name: trading
auth: {{{way}: {{jwt: {{issuer: me, jwks: {{inline: '{jwks}'}}}}}}}}
default_auth: {way}
routes:
- {{match: {{prefix: /orders}}, to: orders}}
{}",
        others.iter().map(route).collect::<String>()
    )
}

/// A way takes the place of another and back again, for the same tokens. With it comes a route to a service that the
/// gateway did not know, for whose cluster the new routes wait.
async fn a_way_takes_anothers_place(test: &str, sotw: bool) {
    let shape = |options: &mut lab::world::WorldOptions| options.sotw = sotw;
    let Some(mut scene) = Scene::trading(test, 1, shape).await else { return };
    let late = scene.sample("late", Protocol::Http);
    scene.world.place(&[late]).await.unwrap();
    let issuer = Issuer::new("me");
    let token = format!("Bearer {}", issuer.token(json!({})));
    let ask = async |path: &str| {
        let request = Request::get(path).header(header::HOST, LOCAL);
        let request = request.header(header::AUTHORIZATION, &token);
        let address = scene.world.router_address();
        scene.world.client().exchange(address, request, Bytes::new()).await.unwrap()
    };
    scene.world.apply("trading", &document("first", &issuer, &[])).await.unwrap();
    soon("the first way is asked for", async || {
        judge(&scene.get("/trading/orders/7").await?, 401, "Jwt is missing")
    })
    .await;

    let is_over = Cell::new(false);
    let change = async || {
        let documents = [("second", &["late"][..], 200), ("first", &[][..], 404)];
        for (way, others, status) in documents.into_iter().cycle().take(CHANGES) {
            scene.world.apply("trading", &document(way, &issuer, others)).await.unwrap();
            soon("the other way is in force", async || {
                judge(&ask("/trading/late/7").await, status, "")
            })
            .await;
        }
        is_over.set(true);
    };
    let load = async || {
        let mut answers: BTreeMap<String, usize> = BTreeMap::new();
        while !is_over.get() {
            let answer = ask("/trading/orders/7").await;
            let said = judge(&answer, 200, "instance").err().unwrap_or_default();
            *answers.entry(said).or_default() += 1;
        }
        answers
    };
    let (one, other, ()) = tokio::join!(load(), load(), change());
    for answers in [one, other] {
        let refused: Vec<_> = answers.iter().filter(|(said, _)| !said.is_empty()).collect();
        assert!(refused.is_empty() && answers.values().sum::<usize>() > CHANGES, "{answers:?}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_takes_anothers_place_refuses_nobody() {
    let test = "a_way_that_takes_anothers_place_refuses_nobody";
    Box::pin(a_way_takes_anothers_place(test, false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_that_takes_anothers_place_refuses_nobody_in_state_of_the_world() {
    let test = "a_way_that_takes_anothers_place_refuses_nobody_in_state_of_the_world";
    Box::pin(a_way_takes_anothers_place(test, true)).await;
}
