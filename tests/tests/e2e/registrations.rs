//! What registrations say: bad ones are named and harm nobody, the others become listeners, endpoints and weights.

use std::collections::BTreeMap;

use contract::registration::Protocol;
use http::{Method, Request};
use lab::http::Client;
use lab::placer::{Allocation, ServiceSpec};
use lab::process::{self, Program};
use lab::{ports, wait};
use serde_json::{Value, json};

use crate::scene::{LOCAL, Scene, TRADING, judge, soon};

const REGISTER: &str = "/v1/agent/service/register";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_registration_is_named_and_the_others_of_its_service_are_served() {
    let test = "a_bad_registration_is_named_and_the_others_of_its_service_are_served";
    let Some(scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let bad = |id: &str, address: &str, port: u16, key: &str, value: &str| {
        json!({"ID": id, "Name": "orders", "Address": address, "Port": port,
               "Meta": {"mesh_system": "trading", key: value}})
    };
    let cases = [
        (bad("portless", "127.0.0.1", 0, "mesh_protocol", "http"), "no port"),
        (bad("named", "db.example.com", 7, "mesh_protocol", "http"), "db.example.com"),
        (bad("smtp", "127.0.0.1", 7, "mesh_protocol", "smtp"), "mesh_protocol"),
        (bad("heavy", "127.0.0.1", 7, "mesh_weight", "1000"), "mesh_weight"),
    ];
    for (body, _) in &cases {
        scene.consul(Method::PUT, REGISTER, Some(body.clone())).await;
    }
    for (body, reason) in &cases {
        let id = body.get("ID").and_then(Value::as_str).unwrap();
        scene.problem(&format!("registration {id}"), reason).await;
    }
    let apis: Vec<String> =
        scene.world.control_planes.iter().map(|one| format!("http://{}", one.api())).collect();
    let meshctl = Program::new("meshctl get problems", &scene.parts.our("meshctl").unwrap())
        .args(["get", "problems", "--api", &apis.join(",")]);
    let shown = process::run(&meshctl).await.unwrap();
    for id in ["portless", "named", "smtp", "heavy"] {
        assert!(shown.contains(&format!("registration {id}")), "{shown}");
    }
    let good = scene.world.instances_of("orders").next().unwrap().instance().to_owned();
    let only_the_good_one = async || judge(&scene.get("/trading/orders/7").await?, 200, &good);
    wait::holds("it answers", std::time::Duration::from_secs(1), only_the_good_one).await.unwrap();
    scene.end().await;
}

const NO_SUCH_HOST: &str = "no such host";

/// Health and weight of an instance as the gateway's Envoy has it.
async fn seen_by_gateway(scene: &Scene, instance: &Allocation) -> Result<(String, u64), String> {
    let gateway = scene.world.instances_of("trading-gateway").next().unwrap();
    let clusters = gateway.envoy().admin("/clusters?format=json").await;
    let clusters: Value = serde_json::from_str(&clusters.map_err(|error| lab::chain(&error))?)
        .map_err(|error| error.to_string())?;
    let list = |value: &Value, key: &str| -> Vec<Value> {
        value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let hosts = list(&clusters, "cluster_statuses")
        .into_iter()
        .filter(|cluster| cluster.get("name") == Some(&json!("service:trading/orders")))
        .flat_map(|cluster| list(&cluster, "host_statuses"));
    let port = json!(instance.address().port());
    for host in hosts {
        if host.pointer("/address/socket_address/port_value") == Some(&port) {
            let health = host.pointer("/health_status/eds_health_status").and_then(Value::as_str);
            let weight = host.get("weight").and_then(Value::as_u64);
            return Ok((health.unwrap_or_default().to_owned(), weight.unwrap_or_default()));
        }
    }
    Err(NO_SUCH_HOST.to_owned())
}

async fn becomes(scene: &Scene, instance: &Allocation, health: &str, weight: u64) {
    soon(&format!("Envoy has {health} with weight {weight}"), async || {
        let seen = seen_by_gateway(scene, instance).await?;
        if seen == (health.to_owned(), weight) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_maintenance_and_weights_become_health_and_weight_in_envoy() {
    let test = "checks_maintenance_and_weights_become_health_and_weight_in_envoy";
    let Some(mut scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let heavy = ServiceSpec { weight: 10, ..scene.orders() };
    scene.world.place(&[heavy]).await.unwrap();
    let one = scene.world.allocations.last().unwrap();
    let id = one.registration().id.clone();
    becomes(&scene, one, "HEALTHY", 10).await;

    let check = json!({"ID": "desk", "Name": "desk", "ServiceID": id, "TTL": "1h"});
    scene.consul(Method::PUT, "/v1/agent/check/register", Some(check)).await;
    soon("Envoy has it no more, because the other one is healthy", async || match seen_by_gateway(
        &scene, one,
    )
    .await
    {
        Err(why) if why == NO_SUCH_HOST => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
    scene.consul(Method::PUT, "/v1/agent/check/warn/desk", None).await;
    // The weight that the placer registers for warnings.
    becomes(&scene, one, "HEALTHY", 1).await;
    scene.consul(Method::PUT, "/v1/agent/check/pass/desk", None).await;
    becomes(&scene, one, "HEALTHY", 10).await;

    let maintenance = |enable: bool| format!("/v1/agent/service/maintenance/{id}?enable={enable}");
    scene.consul(Method::PUT, &maintenance(true), None).await;
    becomes(&scene, one, "DRAINING", 10).await;
    let drained = one.instance();
    let elsewhere = async || match scene.get("/trading/orders/7").await?.text() {
        text if text.contains(drained) => Err(text),
        _ => Ok(()),
    };
    wait::holds("the others answer", std::time::Duration::from_millis(500), elsewhere)
        .await
        .unwrap();
    scene.consul(Method::PUT, &maintenance(false), None).await;
    becomes(&scene, one, "HEALTHY", 10).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_narrow_what_is_called_and_open_tcp_listeners_also_for_external_services() {
    let test = "upstreams_narrow_what_is_called_and_open_tcp_listeners_also_for_external_services";
    let Some(mut scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let (_pricing, pricing_at) = scene.outsider("pricing");
    let body = json!({"Name": "pricing", "Address": "127.0.0.1", "Port": pricing_at.port()});
    scene.consul(Method::PUT, REGISTER, Some(body)).await;
    scene.world.place(&[scene.sample("ledger", Protocol::Tcp)]).await.unwrap();
    let document = format!("{TRADING}external: [pricing]\n");
    scene.world.apply("trading", &document).await.unwrap();
    let (ledger, pricing) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    let desk = scene
        .sample("desk", Protocol::Http)
        .with_meta("mesh_upstreams", &format!("orders, ledger={ledger}, pricing={pricing}"));
    // Without the narrowing everything of the System can be called, external services by name.
    scene.world.place(&[desk, scene.sample("free", Protocol::Http)]).await.unwrap();
    scene.call_answers("free", "desk", "/orders/7", 200, "instance").await;
    scene.call_answers("free", "pricing", "/orders/7", 200, "pricing").await;

    scene.call_answers("desk", "orders", "/orders/7", 200, "instance").await;
    scene.call_answers("desk", "orders.trading.mesh", "/orders/7", 200, "instance").await;
    scene.call_answers("desk", "free", "/orders/7", 404, "free").await;
    scene.call_answers("desk", "free", "/orders/7", 404, "mesh_upstreams").await;

    let instance = scene.world.instances_of("ledger").next().unwrap().instance().to_owned();
    for (port, by) in [(ledger, instance.as_str()), (pricing, "pricing")] {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        soon(&format!("{by} answers on loopback port {port}"), async || {
            let answer = Client::new().get(address, LOCAL, "/orders/7").await;
            judge(&answer.map_err(|error| lab::chain(&error))?, 200, by)
        })
        .await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_service_with_a_host_name_is_resolved_by_envoy() {
    let test = "an_external_service_with_a_host_name_is_resolved_by_envoy";
    let Some(scene) = Scene::trading(test, 1, |_| ()).await else { return };
    let (_archive, archive_at) = scene.outsider("archive");
    let body = json!({"Name": "archive", "Address": LOCAL, "Port": archive_at.port()});
    scene.consul(Method::PUT, REGISTER, Some(body)).await;
    scene.world.apply("trading", &format!("{TRADING}external: [archive]\n")).await.unwrap();
    let orders = scene.world.instances_of("orders").next().unwrap();
    let resolved = format!("external:archive::{archive_at}::");
    soon("Envoy has an address that answers", async || {
        let clusters = orders.envoy().admin("/clusters").await;
        let clusters = clusters.map_err(|error| lab::chain(&error))?;
        let archive: Vec<&str> =
            clusters.lines().filter(|line| line.starts_with("external:archive::")).collect();
        let is_there = archive.iter().any(|line| line.starts_with(&resolved));
        if is_there { Ok(()) } else { Err(archive.join("; ")) }
    })
    .await;
    scene.call_answers("orders", "archive", "/orders/7", 200, "archive").await;
    assert_eq!(cluster_types(orders).await.get("external:archive").unwrap(), "envoy.clusters.dns");
    assert_eq!(cluster_types(orders).await.get("service:trading/orders").unwrap(), "EDS");
    scene.end().await;
}

/// How each cluster of an Envoy finds its endpoints, by name.
async fn cluster_types(allocation: &Allocation) -> BTreeMap<String, String> {
    let dump = allocation.envoy().config_dump().await.unwrap();
    let configs = dump.get("configs").and_then(Value::as_array).cloned().unwrap_or_default();
    let clusters = configs.iter().filter_map(|config| config.get("dynamic_active_clusters"));
    let text = |value: &Value, path: &str| Some(value.pointer(path)?.as_str()?.to_owned());
    clusters
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|one| {
            let kind = text(one, "/cluster/type").or(text(one, "/cluster/cluster_type/name"));
            Some((text(one, "/cluster/name")?, kind?))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_answers_those_who_ask_for_it_and_then_a_share_of_the_others() {
    let test = "a_canary_answers_those_who_ask_for_it_and_then_a_share_of_the_others";
    let Some(mut scene) = Scene::trading(test, 1, |_| ()).await else { return };
    scene.world.place(&[scene.orders().with_meta("mesh_track", "canary")]).await.unwrap();
    let canary = scene.world.allocations.last().unwrap().instance().to_owned();
    let ask = async |header: Option<(&str, &str)>| {
        let mut request = Request::get("/trading/orders/7").header("host", LOCAL);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let (client, router) = (scene.world.client(), scene.world.router_address());
        let answer = client.exchange(router, request, bytes::Bytes::new()).await.unwrap();
        judge(&answer, 200, "instance").map(|()| answer.text().contains(&canary))
    };
    let only = async |header: Option<(&str, &str)>, wanted: bool| match ask(header).await? {
        seen if seen == wanted => Ok(()),
        _ => Err(format!("{header:?} went to the other track")),
    };
    soon("a canary answers to x-mesh-track", async || {
        only(Some(("x-mesh-track", "canary")), true).await
    })
    .await;
    for _ in 0..30 {
        only(None, false).await.unwrap();
        only(Some(("x-mesh-track", "canary")), true).await.unwrap();
    }
    let share = format!("{TRADING}tracks: {{canary: {{percent: 50, header: x-canary}}}}\n");
    scene.world.apply("trading", &share).await.unwrap();
    soon("a canary answers to x-canary", async || only(Some(("x-canary", "1")), true).await).await;
    let mut canaries = 0;
    for _ in 0..100 {
        only(Some(("x-canary", "1")), true).await.unwrap();
        canaries += u32::from(ask(None).await.unwrap());
    }
    // Fifty, give or take five standard deviations.
    assert!((25..=75).contains(&canaries), "{canaries} of 100 went to the canary");
    scene.end().await;
}
