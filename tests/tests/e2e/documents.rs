//! What System documents say: mistakes are refused where they are made, and what is in force is enforced.

use contract::registration::Protocol;
use http::Method;
use lab::LabError;
use lab::placer::ServiceSpec;
use lab::process::{self, Program};
use serde_json::Value;

use crate::scene::{Scene, TRADING};

/// Each mistake, with the line and the key that must be named.
const MISTAKES: [(&str, &str, &str); 3] = [
    ("colour: blue\n", "7:", "colour"),
    ("hosts: trading.example.com\n", "7:", "hosts"),
    ("services: {orders: {timeout: soon}}\n", "7:", "services.orders.timeout"),
];

/// What `meshctl apply` says to a document: its exit status and its standard error.
async fn refusal(scene: &Scene, document: &str) -> (String, String) {
    let file = scene.dir().join("mistake.yaml");
    std::fs::write(&file, document).unwrap();
    let apply = Program::new("meshctl apply", &scene.parts.our("meshctl").unwrap())
        .args(["apply", "--yes", "--consul", &scene.world.consul().unwrap().url(), "-f"])
        .args([file.display().to_string()]);
    match process::run(&apply).await {
        Err(LabError::Ended { status, tail, .. }) => (status, tail),
        other => (format!("{other:?}"), String::new()),
    }
}

async fn in_force(scene: &Scene) -> Value {
    scene.consul(Method::GET, "/v1/kv/mesh/systems/trading", None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_refused_by_line_and_key_and_in_consul_the_last_good_document_stays() {
    let test = "a_mistake_is_refused_by_line_and_key_and_in_consul_the_last_good_document_stays";
    let Some(scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let before = in_force(&scene).await;
    for (mistake, line, key) in MISTAKES {
        let (status, said) = refusal(&scene, &format!("{TRADING}{mistake}")).await;
        assert_eq!(status, "exit status: 1", "{mistake}: {said}");
        assert!(said.contains(&format!("mistake.yaml:{line}")), "{mistake}: {said}");
        assert!(said.contains(key), "{mistake}: {said}");
    }
    let unknown = format!("{TRADING}- {{match: {{prefix: /quotes}}, to: quotes}}\n");
    let (status, said) = refusal(&scene, &unknown).await;
    assert_eq!(status, "exit status: 1", "{said}");
    assert!(said.contains("mistake.yaml:7:") && said.contains("routes[2].to"), "{said}");
    assert_eq!(in_force(&scene).await, before, "a refused document was written");

    for (mistake, _, key) in MISTAKES {
        let text = format!("{TRADING}{mistake}").replace("/orders}", "/elsewhere}");
        write_text(&scene, &text).await;
        scene.problem("document trading", key).await;
        scene.problem("document trading", "last good version stays in force").await;
        scene.answers("/trading/orders/7", 200, "instance").await;
    }
    // A route to a service that is not there is an answer of its own; the other routes are not touched.
    write_text(&scene, &unknown).await;
    scene.problem("document trading", "no service quotes is registered").await;
    scene.answers("/trading/quotes/7", 503, "quotes").await;
    scene.answers("/trading/orders/7", 200, "instance").await;
    scene.end().await;
}

/// Puts a text where `meshctl apply` would, without looking at it.
async fn write_text(scene: &Scene, text: &str) {
    let consul = scene.world.consul().unwrap();
    let path = "/v1/kv/mesh/systems/trading";
    let body = bytes::Bytes::from(text.to_owned());
    scene.world.client().expect(consul.address(), Method::PUT, path, body).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_enter_is_what_the_document_says_and_without_it_the_router_is_closed() {
    let test = "who_may_enter_is_what_the_document_says_and_without_it_the_router_is_closed";
    let Some(mut scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let positions = ServiceSpec::new(
        "portfolio",
        "positions",
        Protocol::Http,
        scene.parts.our("orders").unwrap(),
    );
    scene.world.place(&[positions]).await.unwrap();
    let theirs = "orders.trading.mesh";
    scene.call_answers("positions", theirs, "/orders/7", 200, "instance").await;
    for (callers, status, text) in [
        ("callers: [research]\n", 403, "callers"),
        ("callers: []\n", 403, "callers"),
        ("callers: [portfolio]\n", 200, "instance"),
    ] {
        scene.world.apply("trading", &format!("{TRADING}{callers}")).await.unwrap();
        scene.call_answers("positions", theirs, "/orders/7", status, text).await;
        // The Router is not asked who calls.
        scene.answers("/trading/orders/7", 200, "instance").await;
    }

    let keys = "auth: {partners: {api_key: {header: x-api-key, keys: mesh/keys/trading}}}\n";
    let document = TRADING.replace("default_auth: none", "default_auth: partners") + keys;
    scene.world.apply("trading", &document).await.unwrap();
    scene.answers("/trading/orders/7", 503, "asks for auth partners").await;
    scene.call_answers("positions", theirs, "/orders/7", 200, "instance").await;

    let document = TRADING.replace("default_auth: none\n", "");
    scene.world.apply("trading", &document).await.unwrap();
    scene.answers("/trading/orders/7", 403, "default_auth").await;

    scene.world.apply("trading", TRADING).await.unwrap();
    scene.answers("/trading/orders/7", 200, "instance").await;
    let consul = scene.world.consul().unwrap().url();
    let delete = Program::new("meshctl delete", &scene.parts.our("meshctl").unwrap())
        .args(["delete", "system", "trading", "--yes", "--consul", &consul]);
    process::run(&delete).await.unwrap();
    scene.answers("/trading/orders/7", 403, "default_auth").await;
    assert_eq!(scene.problems().await.unwrap(), []);
    scene.end().await;
}
