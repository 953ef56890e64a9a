//! A System beyond the limit: sidecars ask for clusters as their requests need them.

use contract::registration::Protocol;
use lab::load::Call;
use lab::parts;
use lab::placer::{Allocation, Stop};

use crate::scene::{Scene, none_lost, soon};

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_of_a_large_system_gets_a_cluster_when_a_request_needs_it() {
    let test = "a_sidecar_of_a_large_system_gets_a_cluster_when_a_request_needs_it";
    let Some(envoys) = parts::envoy_versions_or_skip(test) else { return };
    for (version, envoy) in envoys {
        large_system(&format!("{test}, Envoy {version}"), |options| options.parts.envoy = envoy)
            .await;
    }
}

async fn large_system(test: &str, shape: impl FnOnce(&mut lab::world::WorldOptions)) {
    let scene = Scene::trading(test, 1, |options| {
        options.on_demand_above = Some(1);
        shape(options);
    });
    let Some(mut scene) = scene.await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    let specs = ["quotes", "audit"].map(|name| scene.sample(name, Protocol::Http)).to_vec();
    scene.world.place(&specs).await.unwrap();
    soon("the sidecar knows its own application alone", async || {
        match clusters(&scene).await?.as_slice() {
            [one] if one == "app:quotes" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    let answer = scene.call("quotes", "orders", "/orders/7").await.unwrap();
    assert_eq!(answer.status, 200, "the first request waits for its cluster: {answer:?}");
    assert_eq!(clusters(&scene).await.unwrap(), ["app:quotes", "service:trading/orders"]);

    // What is known stays current, also over a new stream.
    scene.world.replace("orders", Stop::Drained).await.unwrap();
    scene.call_answers("quotes", "orders", "/orders/7", 200, "instance").await;
    for index in 0..scene.world.control_planes.len() {
        let control_plane = scene.world.control_planes.get_mut(index).unwrap();
        control_plane.kill().await.unwrap();
        control_plane.start_again().unwrap();
        control_plane.wait_ready().await.unwrap();
    }
    let quotes = scene.world.instances_of("quotes").next().unwrap().id().to_owned();
    soon("the sidecar is back", async || scene.proxy(&quotes).await.map(drop)).await;
    scene.world.replace("orders", Stop::Drained).await.unwrap();
    scene.call_answers("quotes", "orders", "/orders/7", 200, "instance").await;
    let answer = scene.call("quotes", "audit", "/orders/7").await.unwrap();
    assert_eq!(answer.status, 200, "another cluster, after a reconnect: {answer:?}");
    scene.call_answers("quotes", "nobody", "/", 404, "nobody").await;
    none_lost(load).await;
    scene.end().await;
}

/// The clusters that the control plane gave the sidecar of `quotes`, by name.
async fn clusters(scene: &Scene) -> Result<Vec<String>, String> {
    let quotes = scene.world.instances_of("quotes").next().map(Allocation::envoy);
    let text = quotes.ok_or("no instance")?.admin("/clusters").await;
    let text = text.map_err(|error| lab::chain(&error))?;
    let names = text.lines().filter_map(|line| line.split_once("::").map(|(name, _)| name));
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("app:") || name.starts_with("service:"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn in_state_of_the_world_a_large_system_s_sidecar_gets_every_cluster_at_once() {
    let test = "in_state_of_the_world_a_large_system_s_sidecar_gets_every_cluster_at_once";
    let scene = Scene::trading(test, 1, |options| {
        options.on_demand_above = Some(1);
        options.sotw = true;
    });
    let Some(mut scene) = scene.await else { return };
    let quotes = scene.sample("quotes", Protocol::Http);
    scene.world.place(&[quotes]).await.unwrap();
    soon("the sidecar has every cluster", async || {
        let all = ["app:quotes", "service:trading/orders", "service:trading/quotes"];
        let names = clusters(&scene).await?;
        if names == all { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
    scene.call_answers("quotes", "orders", "/orders/7", 200, "instance").await;
    scene.end().await;
}
