//! Old and new instances change places under load: through the Router and the gateway, and inside the System.

use contract::api::Convergence;
use contract::registration::Protocol;
use http::{Method, Request};
use lab::load::{Call, Load, LoadSpec};
use lab::placer::{Allocation, Stop};
use lab::registry::Registration;
use serde_json::json;

use crate::scene::{LOCAL, RATE, Scene, TRADING, judge, none_lost, soon};

/// Requests are always under way; a POST is never sent twice.
const SLOW: &str = "/slow?ms=100";

/// Waits until every control plane says of `orders` that its allocations are so, and every proxy knows.
async fn converged(scene: &Scene, allocations: &str) {
    let path = format!("/v1/convergence?system=trading&service=orders&{allocations}");
    for control_plane in &scene.world.control_planes {
        soon(&format!("{allocations} has converged"), async || {
            let answer: Convergence =
                control_plane.get(&path).await.map_err(|error| lab::chain(&error))?;
            if answer.converged { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }
}

/// Requests of an application to `orders`, by its own sidecar.
fn load_inside(scene: &Scene) -> Load {
    let (client, address) =
        scene.world.instances_of("desk").next().and_then(Allocation::egress).unwrap();
    Load::start(LoadSpec {
        client,
        address,
        host: "orders".to_owned(),
        path: SLOW.to_owned(),
        call: Call::Post,
        rate: RATE,
        timeout: std::time::Duration::from_secs(15),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_loses_nothing_also_when_the_old_ones_leave_before_the_new_ones_are_stable() {
    let test = "a_switch_loses_nothing_also_when_the_old_ones_leave_before_the_new_ones_are_stable";
    let Some(mut scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let old = scene.world.instances_of("orders").next().unwrap().id().to_owned();
    let canary = scene.orders().with_meta("mesh_track", "canary");
    scene.world.place(&[scene.sample("desk", Protocol::Http), canary]).await.unwrap();
    let new = scene.world.instances_of("orders").last().unwrap();
    let (id, registration) = (new.id().to_owned(), new.registration().clone());
    let name = new.instance().to_owned();
    converged(&scene, &format!("stable={old}&canary={id}")).await;

    let outside = scene.load(Call::Post, &format!("/trading{SLOW}"));
    let inside = load_inside(&scene);
    scene.world.remove("orders", Stop::Drained).await.unwrap();
    converged(&scene, &format!("canary={id}&absent={old}")).await;
    scene.answers("/trading/orders/7", 200, &name).await;
    scene.call_answers("desk", "orders", "/orders/7", 200, &name).await;

    let stable = Registration {
        meta: {
            let mut meta = registration.meta.clone();
            meta.insert("mesh_track".to_owned(), "stable".to_owned());
            meta
        },
        ..registration
    };
    scene.world.registry().register(&stable).await.unwrap();
    converged(&scene, &format!("stable={id}&absent={old}")).await;
    none_lost(outside).await;
    none_lost(inside).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_whose_check_fails_gives_its_share_and_its_header_back() {
    let test = "a_canary_whose_check_fails_gives_its_share_and_its_header_back";
    let Some(mut scene) = Scene::trading(test, 1, |_| ()).await else { return };
    scene.world.place(&[scene.orders().with_meta("mesh_track", "canary")]).await.unwrap();
    let canary = scene.world.allocations.last().unwrap();
    let (id, registered) = (canary.instance().to_owned(), canary.registration().id.clone());
    let document = format!("{TRADING}tracks: {{canary: {{percent: 50, header: x-canary}}}}\n");
    scene.world.apply("trading", &document).await.unwrap();
    let is_canary = async || {
        let request =
            Request::get("/trading/orders/7").header("host", LOCAL).header("x-canary", "1");
        let (client, router) = (scene.world.client(), scene.world.router_address());
        let answer = client.exchange(router, request, bytes::Bytes::new()).await;
        let answer = answer.map_err(|error| lab::chain(&error))?;
        judge(&answer, 200, "instance").map(|()| answer.text().contains(&id))
    };
    soon("the canary answers", async || match is_canary().await? {
        true => Ok(()),
        false => Err("another did".to_owned()),
    })
    .await;

    let check = json!({"ID": "broken", "Name": "broken", "ServiceID": registered, "TTL": "1h"});
    scene.consul(Method::PUT, "/v1/agent/check/register", Some(check)).await;
    soon("the canary is left out", async || match is_canary().await? {
        true => Err("it answered".to_owned()),
        false => Ok(()),
    })
    .await;
    for _ in 0..40 {
        assert!(!is_canary().await.unwrap());
        let answer = scene.get("/trading/orders/7").await.unwrap();
        judge(&answer, 200, "instance").unwrap();
        assert!(!answer.text().contains(&id), "{}", answer.text());
    }
    scene.end().await;
}
