//! Three Consul servers lose their leader, then all of them are gone for a while; the local agent stays.

use std::time::Duration;

use lab::consul::{ConsulOptions, Servers};
use lab::load::Call;
use lab::world::WorldOptions;
use lab::{parts, wait};

use super::{all_are_fresh, all_are_stale, follows_again};
use crate::scene::{Scene, folder, judge, none_lost};

#[tokio::test(flavor = "multi_thread")]
async fn traffic_does_not_notice_an_election_nor_that_no_server_is_left() {
    let test = "traffic_does_not_notice_an_election_nor_that_no_server_is_left";
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let folder = folder();
    let mut servers = Servers::start(&binary, folder.path(), 3).await.unwrap();
    let client = ConsulOptions { servers: servers.gossip(), ..ConsulOptions::default() };
    let shape = |options: &mut WorldOptions| options.consul = Some(client);
    let Some(mut scene) = Scene::trading(test, 2, shape).await else { return };

    let load = scene.load(Call::Get, "/trading/orders/7");
    servers.kill_leader().await.unwrap();
    servers.wait_leader().await.unwrap();
    all_are_fresh(&scene).await;
    follows_again(&mut scene).await;

    servers.kill_all().await.unwrap();
    all_are_stale(&scene).await;
    let answers = async || judge(&scene.get("/trading/orders/7").await?, 200, "instance");
    wait::holds("orders answers without leader", Duration::from_secs(2), answers).await.unwrap();
    servers.start_again().await.unwrap();
    all_are_fresh(&scene).await;
    follows_again(&mut scene).await;
    none_lost(load).await;
    scene.end().await;
}
