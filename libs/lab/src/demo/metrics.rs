//! Whether one address shows the metrics of every instance.

use std::collections::BTreeSet;
use std::time::Duration;

use super::checks::Checks;
use crate::wait;
use crate::world::World;

/// An instance that was placed just now is known within milliseconds; a busy machine may take longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// Asks the host's agent for the metrics of everything, and looks for each Envoy's and each control plane's.
pub async fn check(world: &World, checks: &mut Checks) {
    let what = "one address shows the metrics of every instance (curl HOST:9180/metrics)";
    let Some(agent) = world.host_agent.as_ref().filter(|_| world.consul().is_some()) else {
        return checks.skip(what, "the agent knows no instances without a Consul");
    };
    let awaited = wait::until(what, DEADLINE, async || {
        let path = "/metrics";
        let answer = world.client().get(agent.relay(), "localhost", path).await;
        let text = answer.map_err(|error| crate::chain(&error))?.text();
        seen(world, &text)
    });
    checks.record(what, awaited.await.map_err(|error| crate::chain(&error)));
}

/// What was found, or who is missing.
fn seen(world: &World, text: &str) -> Result<String, String> {
    let up: BTreeSet<&str> = text
        .lines()
        .filter(|line| line.starts_with("envoy_server_live{"))
        .filter_map(|line| line.split_once("alloc=\"")?.1.split_once('"'))
        .map(|(allocation, _)| allocation)
        .collect();
    let missing: Vec<&str> = world
        .allocations
        .iter()
        .map(|allocation| allocation.id())
        .filter(|id| !up.contains(id))
        .collect();
    let control_planes = text.lines().filter(|line| line.starts_with("mesh_ready{")).count();
    if !missing.is_empty() || control_planes != world.control_planes.len() {
        return Err(format!(
            "no metrics of {missing:?}, and those of {control_planes} control planes"
        ));
    }
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    Ok(format!("{} instances, {control_planes} control planes, {series} series", up.len()))
}
