//! Two control planes are as good as one: they agree to the byte, and a proxy that changes over receives nothing.

use contract::api::{ProxyResources, ResourceView};
use lab::control_plane::ControlPlane;
use lab::load::Call;

use crate::scene::{Scene, none_lost, soon};

/// What the proxy has, from the control plane that it is connected to, once everything is acknowledged.
async fn resources(control_plane: &ControlPlane, id: &str) -> Result<Vec<ResourceView>, String> {
    let path = format!("/v1/proxies/{id}/resources");
    let all: ProxyResources = control_plane.get(&path).await.map_err(|error| lab::chain(&error))?;
    match all.resources.iter().find(|one| one.state != "acked") {
        Some(open) => Err(format!("{open:?}")),
        None if all.resources.is_empty() => Err(format!("{id} has nothing")),
        None => Ok(all.resources),
    }
}

async fn sent(control_plane: &ControlPlane) -> Vec<String> {
    let metrics = control_plane.metrics().await.unwrap();
    let sent = |line: &&str| line.starts_with("mesh_xds_sent_bytes_total");
    metrics.lines().filter(sent).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_change_over_are_given_the_same_bytes_and_none_that_they_have() {
    let test = "proxies_that_change_over_are_given_the_same_bytes_and_none_that_they_have";
    let Some(mut scene) = Scene::trading(test, 2, |_| ()).await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    // With the second one away every proxy is at the first.
    scene.world.control_planes[1].stop().await.unwrap();
    let ids: Vec<String> = scene.world.allocations.iter().map(|one| one.id().to_owned()).collect();
    let ids: Vec<String> = ids.into_iter().chain(["router".to_owned()]).collect();
    let mut before = Vec::new();
    for id in &ids {
        let first = &scene.world.control_planes[0];
        before.push(soon("all is acknowledged", async || resources(first, id).await).await);
    }
    let [first, second] = scene.world.control_planes.as_mut_slice() else { unreachable!() };
    second.start_again().unwrap();
    second.wait_ready().await.unwrap();
    assert_eq!(sent(second).await, Vec::<String>::new());
    first.stop().await.unwrap();
    for (id, before) in ids.iter().zip(before) {
        let after = soon("it has changed over", async || resources(second, id).await).await;
        assert_eq!(after, before, "{id}");
    }
    let repeated = sent(second).await;
    assert!(repeated.iter().all(|line| bytes(line) < 1000), "{repeated:?}");

    first.start_again().unwrap();
    first.wait_ready().await.unwrap();
    none_lost(load).await;
    scene.end().await;
}

fn bytes(line: &str) -> u64 {
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(u64::MAX)
}
