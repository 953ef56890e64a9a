//! One listener of many cannot be had: the port is someone else's.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use contract::registration::Protocol;
use lab::http::Client;
use lab::load::Call;
use lab::placer::Allocation;
use lab::registry::Registration;
use lab::{ports, wait};

use crate::scene::{LOCAL, Scene, judge, none_lost, soon};

/// Halving finds the culprit among few listeners in so many refusals.
const REFUSALS: u64 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_refused_listener_is_held_back_and_named_and_everything_else_applies() {
    let test = "the_refused_listener_is_held_back_and_named_and_everything_else_applies";
    let Some(mut scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken_port = taken.local_addr().unwrap().port();
    let (good, other) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let specs = ["ledger", "audit", "vault"].map(|name| scene.sample(name, Protocol::Tcp)).to_vec();
    scene.world.place(&specs).await.unwrap();
    let load = scene.load(Call::Get, "/trading/orders/7");
    let upstreams = |port: u16| format!("orders, ledger={port}, audit={good}");
    let desk =
        scene.sample("desk", Protocol::Http).with_meta("mesh_upstreams", &upstreams(taken_port));
    scene.world.place(&[desk]).await.unwrap();

    let desk = scene.world.instances_of("desk").next().unwrap();
    let name = format!("tcp:{taken_port}");
    soon("the control plane names the listener with Envoy's words", async || {
        let proxy = scene.proxy(desk.id()).await?;
        let listeners = proxy.types.iter().find(|kind| kind.name == "listener");
        let nacked = listeners.map(|kind| kind.nacked.clone()).unwrap_or_default();
        match nacked.as_slice() {
            [one] if one.resource == name && one.message.contains("in use") => Ok(()),
            _ => Err(format!("{proxy:?}")),
        }
    })
    .await;
    assert!(metric(&scene, "mesh_xds_quarantined_resources_total").await >= 1);
    scene.call_answers("desk", "orders", "/orders/7", 200, "instance").await;
    answers_at(good).await;

    // A change of the rest reaches the proxy too, and what was refused is not sent again.
    let rejected = async || {
        let filter = "update_rejected$";
        desk.envoy().sum(filter).await.map_err(|error| lab::chain(&error))
    };
    let before = rejected().await.unwrap();
    assert!((1..=REFUSALS).contains(&before), "{before} updates refused");
    register_with(&scene, desk, &format!("{}, vault={other}", upstreams(taken_port))).await;
    answers_at(other).await;
    wait::holds("nothing more is refused", Duration::from_secs(3), async || {
        match rejected().await? {
            now if now <= before + 1 => Ok(()),
            now => Err(format!("{now} updates refused")),
        }
    })
    .await
    .unwrap();

    let free = ports::reserve().unwrap();
    register_with(&scene, desk, &upstreams(free)).await;
    answers_at(free).await;
    soon("nothing is held back any more", async || {
        let proxy = scene.proxy(desk.id()).await?;
        let is_held = proxy.types.iter().any(|kind| !kind.nacked.is_empty());
        if is_held { Err(format!("{proxy:?}")) } else { Ok(()) }
    })
    .await;
    none_lost(load).await;
    // This sidecar did refuse an update: it is the subject. No other one did.
    let faults = scene.world.config_faults().await.unwrap();
    assert!(faults.iter().all(|fault| fault.contains("desk")), "{faults:?}");
}

/// Registers an instance again, with other upstreams.
async fn register_with(scene: &Scene, instance: &Allocation, upstreams: &str) {
    let mut registration: Registration = instance.registration().clone();
    registration.meta.insert("mesh_upstreams".to_owned(), upstreams.to_owned());
    scene.world.registry().register(&registration).await.unwrap();
}

async fn answers_at(port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    soon(&format!("loopback port {port} answers"), async || {
        let answer = Client::new().get(address, LOCAL, "/orders/7").await;
        judge(&answer.map_err(|error| lab::chain(&error))?, 200, "instance")
    })
    .await;
}

/// The sum of a metric over its labels and all control planes.
async fn metric(scene: &Scene, name: &str) -> u64 {
    let mut sum = 0;
    for control_plane in &scene.world.control_planes {
        let text = control_plane.metrics().await.unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        sum += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    sum
}
