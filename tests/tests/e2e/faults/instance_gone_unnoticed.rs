//! An instance is gone and Consul does not know: connections to it are refused until the callers leave it out.

use http::Method;
use lab::load::Call;
use lab::ports;
use serde_json::json;

use crate::scene::{Scene, none_lost, soon};

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_tried_elsewhere_and_the_instance_is_left_out() {
    let test = "requests_are_tried_elsewhere_and_the_instance_is_left_out";
    let Some(scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    let port = ports::reserve().unwrap();
    // Without a check Consul counts it as passing.
    let gone = json!({"ID": "gone", "Name": "orders", "Address": "127.0.0.1", "Port": port,
                      "Meta": {"mesh_system": "trading"}});
    scene.consul(Method::PUT, "/v1/agent/service/register", Some(gone)).await;
    let gateway = scene.world.instances_of("trading-gateway").next().unwrap();
    let host = format!("service:trading/orders::127.0.0.1:{port}::");
    soon("the gateway sends nothing to it", async || {
        let clusters = gateway.envoy().admin("/clusters").await;
        let clusters = clusters.map_err(|error| lab::chain(&error))?;
        let said: Vec<&str> = clusters.lines().filter(|line| line.starts_with(&host)).collect();
        let is_out = said.iter().any(|line| line.contains("/failed_outlier_check"));
        if is_out { Ok(()) } else { Err(said.join("; ")) }
    })
    .await;
    none_lost(load).await;
    scene.end().await;
}
