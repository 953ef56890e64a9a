//! What breaks, one file each, with traffic all through it.
//!
//! Each test names the fault, holds the traffic while it lasts, and shows the recovery: without a restart.

use contract::api::Status;
use lab::placer::Stop;

use crate::scene::{Scene, soon};

mod consul_frozen;
mod consul_leader_lost;
mod consul_snapshot_restored;
mod consul_stops;
mod consul_token_loses_rights;
mod control_plane_killed_while_consul_is_down;
mod envoy_refuses_one_resource;
mod garbage_connections;
mod instance_gone_unnoticed;

/// What every control plane says about itself.
async fn statuses(scene: &Scene) -> Result<Vec<Status>, String> {
    let mut all = Vec::new();
    for control_plane in &scene.world.control_planes {
        let status = control_plane.get("/v1/status").await;
        all.push(status.map_err(|error| lab::chain(&error))?);
    }
    Ok(all)
}

/// Waits until every control plane shows Consul as failing: stale, with an error, and still ready.
async fn all_are_stale(scene: &Scene) {
    soon("every control plane shows what is stale, and stays ready", async || {
        let statuses = statuses(scene).await?;
        let is_stale = |status: &Status| {
            let failing = status.sources.iter().any(|source| {
                source.name == "consul" && source.stale_seconds.is_some() && source.error.is_some()
            });
            failing && status.ready
        };
        if statuses.iter().all(is_stale) { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
}

/// Waits until every control plane shows every source as fresh.
async fn all_are_fresh(scene: &Scene) {
    soon("every control plane shows fresh sources", async || {
        let statuses = statuses(scene).await?;
        let is_fresh = |status: &Status| {
            status.ready
                && status
                    .sources
                    .iter()
                    .all(|source| source.name == "last-good" || source.stale_seconds.is_none())
        };
        if statuses.iter().all(is_fresh) { Ok(()) } else { Err(format!("{statuses:?}")) }
    })
    .await;
}

/// A new instance of `orders` takes traffic and an old one goes: the mesh follows Consul again.
async fn follows_again(scene: &mut Scene) {
    scene.world.place(&[scene.orders()]).await.unwrap();
    let new = scene.world.allocations.last().unwrap().instance().to_owned();
    scene.answers("/trading/orders/7", 200, &new).await;
    scene.world.remove("orders", Stop::Drained).await.unwrap();
}
