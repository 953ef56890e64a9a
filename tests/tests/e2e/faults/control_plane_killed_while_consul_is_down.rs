//! Consul is away, and every control plane is killed and started again: what is on their disks serves.

use std::net::SocketAddr;

use contract::node::ProxyRole;
use lab::consul::ConsulOptions;
use lab::envoy::{Envoy, ProxySpec};
use lab::http::Client;
use lab::load::Call;
use lab::ports;
use lab::world::WorldOptions;

use super::{all_are_fresh, all_are_stale, follows_again};
use crate::scene::{Scene, judge, none_lost, soon};

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_state_serves_old_and_new_proxies_and_traffic_does_not_notice() {
    let test = "the_last_good_state_serves_old_and_new_proxies_and_traffic_does_not_notice";
    let durable = ConsulOptions { durable: true, ..ConsulOptions::default() };
    let shape = |options: &mut WorldOptions| options.consul = Some(durable);
    let Some(mut scene) = Scene::trading(test, 2, shape).await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    scene.world.consul_mut().unwrap().kill().await.unwrap();
    all_are_stale(&scene).await;
    // What is on disk is at most as old as the pause between two writes: both replicas have the document by now.
    soon("every control plane has written the document to disk", async || {
        for number in 1..=scene.world.control_planes.len() {
            let file = scene.dir().join(format!("control-plane-{number}/last-good.json"));
            let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
            if !text.contains("default_auth") || !text.contains("-orders-") {
                return Err(text);
            }
        }
        Ok(())
    })
    .await;
    for control_plane in &mut scene.world.control_planes {
        control_plane.kill().await.unwrap();
    }
    scene.answers("/trading/orders/7", 200, "instance").await;
    for control_plane in &mut scene.world.control_planes {
        control_plane.start_again().unwrap();
    }
    for control_plane in &mut scene.world.control_planes {
        control_plane.wait_ready().await.unwrap();
    }
    all_are_stale(&scene).await;

    let (mut fresh, egress) = fresh_proxy(&scene).await;
    fresh.wait_live().await.unwrap();
    soon("a proxy that is new calls orders", async || {
        let answer = Client::new().get(egress, "orders", "/orders/7").await;
        judge(&answer.map_err(|error| lab::chain(&error))?, 200, "instance")
    })
    .await;
    assert_eq!(fresh.config_faults().await.unwrap(), []);

    scene.world.consul_mut().unwrap().start_again().await.unwrap();
    all_are_fresh(&scene).await;
    follows_again(&mut scene).await;
    none_lost(load).await;
    scene.end().await;
}

/// An egress-only proxy of System `trading`, as a batch has it, and where it is asked.
async fn fresh_proxy(scene: &Scene) -> (Envoy, SocketAddr) {
    let (egress, admin) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let spec = ProxySpec {
        role: ProxyRole::Sidecar,
        system: Some("trading".to_owned()),
        id: "batch".to_owned(),
        cluster: "batch".to_owned(),
        services: Vec::new(),
        ingress: None,
        egress: Some(egress),
        upstreams: None,
        bind: [127, 0, 0, 1].into(),
        host: None,
        agent: None,
        spans: Vec::new(),
        stats: None,
        admin,
        xds: scene.world.control_planes.iter().map(|one| one.xds()).collect(),
        sotw: false,
        tls: None,
        trusted_hops: 0,
    };
    let bootstrap = spec.render(&scene.parts.our("meshctl").unwrap()).await.unwrap();
    let envoy = &scene.parts.envoy;
    let envoy = Envoy::start(envoy, "batch", scene.dir(), &bootstrap, admin, None).unwrap();
    (envoy, SocketAddr::from(([127, 0, 0, 1], egress)))
}
