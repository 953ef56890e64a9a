//! Consul hangs: connections stay open, nothing answers.

use std::time::Duration;

use lab::load::Call;
use lab::wait;

use super::{all_are_fresh, follows_again};
use crate::scene::{Scene, judge, none_lost};

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_notice_that_consul_hangs_and_the_mesh_follows_when_it_goes_on() {
    let test = "traffic_does_not_notice_that_consul_hangs_and_the_mesh_follows_when_it_goes_on";
    let Some(mut scene) = Scene::trading(test, 2, |_| ()).await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    scene.world.consul_mut().unwrap().freeze().await.unwrap();
    let answers = async || judge(&scene.get("/trading/orders/7").await?, 200, "instance");
    wait::holds("orders answers beside it", Duration::from_secs(10), answers).await.unwrap();
    scene.world.consul_mut().unwrap().thaw().unwrap();
    all_are_fresh(&scene).await;
    follows_again(&mut scene).await;
    none_lost(load).await;
    scene.end().await;
}
