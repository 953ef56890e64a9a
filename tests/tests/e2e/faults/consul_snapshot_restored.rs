//! An operator restores a snapshot: Consul's indexes and contents go back in time.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use lab::consul::ConsulOptions;
use lab::load::Call;
use lab::wait;
use lab::world::WorldOptions;

use super::follows_again;
use crate::scene::{Scene, TRADING, judge, none_lost};

const SNAPSHOT: &str = "/v1/snapshot";
/// The pause between two looks at the catalogue, and the time to act.
const NOTICED: Duration = Duration::from_secs(15 + 20);
/// Writes that take the index far beyond that of the snapshot.
const WRITES: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn the_mesh_goes_back_with_a_restored_snapshot_and_goes_on_from_there() {
    let test = "the_mesh_goes_back_with_a_restored_snapshot_and_goes_on_from_there";
    let durable = ConsulOptions { durable: true, ..ConsulOptions::default() };
    let shape = |options: &mut WorldOptions| options.consul = Some(durable);
    let Some(mut scene) = Scene::trading(test, 2, shape).await else { return };
    let (client, consul) = (scene.world.client().clone(), scene.world.consul().unwrap().address());
    let snapshot = client.expect(consul, Method::GET, SNAPSHOT, Bytes::new()).await.unwrap().body;

    let load = scene.load(Call::Get, "/trading/orders/7");
    let later = format!("{TRADING}- {{match: {{prefix: /call}}, to: orders}}\n");
    scene.world.apply("trading", &later).await.unwrap();
    scene.answers("/trading/call/orders/orders/7", 200, "instance").await;
    follows_again(&mut scene).await;
    for number in 0..WRITES {
        let path = format!("/v1/kv/elsewhere/{number}");
        scene.consul(Method::PUT, &path, None).await;
    }
    client.expect(consul, Method::PUT, SNAPSHOT, snapshot).await.unwrap();
    // Consul wakes nobody after a restore: it is noticed with the next look at the catalogue's index.
    wait::until("the document of the snapshot's time is in force", NOTICED, async || {
        judge(&scene.get("/trading/call/orders/orders/7").await?, 404, "exposes nothing")
    })
    .await
    .unwrap();
    follows_again(&mut scene).await;
    scene.world.apply("trading", &later).await.unwrap();
    scene.answers("/trading/call/orders/orders/7", 200, "instance").await;
    none_lost(load).await;
    scene.end().await;
}
