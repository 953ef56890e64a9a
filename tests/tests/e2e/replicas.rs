//! Two control planes are as good as one: they agree to the byte, and a proxy that changes over receives nothing.

use std::collections::BTreeMap;

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

/// Bytes of responses by resource type, of types of which any were sent.
async fn sent(control_plane: &ControlPlane) -> BTreeMap<String, u64> {
    let metrics = control_plane.metrics().await.unwrap();
    let lines = metrics.lines().filter_map(|line| {
        let (labels, value) =
            line.strip_prefix("mesh_xds_sent_bytes_total{type=\"")?.split_once("\"} ")?;
        Some((labels.to_owned(), value.parse().unwrap()))
    });
    lines.filter(|(_, bytes)| *bytes > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_change_over_are_given_the_same_bytes_and_none_that_they_have() {
    let test = "proxies_that_change_over_are_given_the_same_bytes_and_none_that_they_have";
    let sent = change_over(test, false).await;
    assert!(sent.is_none_or(|sent| sent.is_empty()), "delta: nothing at all");
}

/// A version says nothing about names that a proxy lists, so that endpoints, extensions and routes travel again, as they
/// were.
#[tokio::test(flavor = "multi_thread")]
async fn in_state_of_the_world_proxies_that_change_over_keep_their_clusters_and_listeners() {
    let test = "in_state_of_the_world_proxies_that_change_over_keep_their_clusters_and_listeners";
    let sent = change_over(test, true).await;
    let types: Option<Vec<String>> = sent.map(|sent| sent.into_keys().collect());
    let Some(types) = types else { return };
    assert_eq!(types, ["endpoints", "extension", "routes"]);
}

/// What the second control plane sends to proxies that come from the first; `None`: a part is missing.
async fn change_over(test: &str, sotw: bool) -> Option<BTreeMap<String, u64>> {
    let mut scene = Scene::trading(test, 2, |options| options.sotw = sotw).await?;
    let load = scene.load(Call::Get, "/trading/orders/7");
    // With the second one away every proxy is at the first.
    scene.world.control_planes.last_mut().unwrap().stop().await.unwrap();
    let ids: Vec<String> = scene.world.allocations.iter().map(|one| one.id().to_owned()).collect();
    let ids: Vec<String> = ids.into_iter().chain(["router".to_owned()]).collect();
    let mut before = Vec::new();
    for id in &ids {
        let first = scene.world.control_planes.first().unwrap();
        before.push(soon("all is acknowledged", async || resources(first, id).await).await);
    }
    let [first, second] = scene.world.control_planes.as_mut_slice() else { unreachable!() };
    second.start_again().unwrap();
    second.wait_ready().await.unwrap();
    assert_eq!(sent(second).await, BTreeMap::new());
    first.stop().await.unwrap();
    for (id, before) in ids.iter().zip(before) {
        let after = soon("it has changed over", async || resources(second, id).await).await;
        assert_eq!(after, before, "{id}");
    }
    let repeated = sent(second).await;

    first.start_again().unwrap();
    first.wait_ready().await.unwrap();
    none_lost(load).await;
    scene.end().await;
    Some(repeated)
}
