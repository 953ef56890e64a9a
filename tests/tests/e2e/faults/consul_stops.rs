//! Consul is stopped, stays away for a while, and comes back with what it knew.

use std::time::Duration;

use lab::consul::ConsulOptions;
use lab::load::Call;
use lab::wait;

use super::{all_are_fresh, all_are_stale, follows_again};
use crate::scene::{Scene, judge, none_lost};

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_notice_that_consul_stops_and_the_mesh_follows_when_it_is_back() {
    let test = "traffic_does_not_notice_that_consul_stops_and_the_mesh_follows_when_it_is_back";
    let durable = ConsulOptions { durable: true, ..ConsulOptions::default() };
    let shape = |options: &mut lab::world::WorldOptions| options.consul = Some(durable);
    let Some(mut scene) = Scene::trading(test, 2, shape).await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    scene.world.consul_mut().unwrap().stop().await.unwrap();
    all_are_stale(&scene).await;
    let answers = async || judge(&scene.get("/trading/orders/7").await?, 200, "instance");
    wait::holds("orders answers without Consul", Duration::from_secs(3), answers).await.unwrap();
    scene.world.consul_mut().unwrap().start_again().await.unwrap();
    all_are_fresh(&scene).await;
    follows_again(&mut scene).await;
    none_lost(load).await;
    scene.end().await;
}
