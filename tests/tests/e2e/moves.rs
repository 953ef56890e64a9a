//! Instances come and go while an open-loop client asks for answers that take a while.

use lab::load::Call;
use lab::placer::Stop;

use crate::scene::{RATE, Scene, none_lost};

/// Requests are always under way on the instance that goes; a POST is never sent twice.
const SLOW: &str = "/trading/slow?ms=200";
/// Where some have to be lost: fifty are under way on two instances. That none is on the one that is killed has a chance of
/// 2⁻⁵⁰.
const SLOWER: &str = "/trading/slow?ms=1000";

#[tokio::test(flavor = "multi_thread")]
async fn drained_moves_and_scaling_lose_nothing_and_the_same_without_draining_does() {
    let test = "drained_moves_and_scaling_lose_nothing_and_the_same_without_draining_does";
    let Some(mut scene) = Scene::trading(test, 2, |_| ()).await else { return };
    let load = scene.load(Call::Post, SLOW);
    scene.world.replace("orders", Stop::Drained).await.unwrap();
    scene.world.place(&[scene.orders()]).await.unwrap();
    scene.world.remove("orders", Stop::Drained).await.unwrap();
    scene.world.replace("trading-gateway", Stop::Drained).await.unwrap();
    none_lost(load).await;

    let mut load = scene.load(Call::Post, SLOWER);
    load.until_more_sent(RATE.into()).await;
    scene.world.replace("orders", Stop::AtOnce).await.unwrap();
    let report = load.finish().await.unwrap();
    assert!(report.lost() > 0, "the load proves nothing: {report}");
    scene.end().await;
}
