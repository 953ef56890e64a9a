//! `meshctl get` and `explain` against small control-plane APIs on loopback.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::{assert_golden, meshctl};

/// A control plane's API with the proxies given, which ends with the test's runtime.
#[expect(clippy::disallowed_methods, reason = "a fake's server lives as long as its test")]
async fn control_plane(proxies: Value, problems: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let api = Router::new()
        .route("/v1/status", get(async || Json(status())))
        .route("/v1/systems", get(async || Json(systems())))
        .route("/v1/routes", get(async |query: Query<BTreeMap<String, String>>| routes(&query)))
        .route("/v1/services", get(async || Json(services())))
        .route("/v1/proxies", get(async || Json(proxies)))
        .route("/v1/problems", get(async || Json(problems)))
        .route("/v1/proxies/a%2Fb/explain", get(async || Json(explanation())))
        .fallback(async || (StatusCode::NOT_FOUND, Json(json!({"error": "no such proxy"}))));
    tokio::spawn(async move { axum::serve(listener, api).await });
    format!("http://{address}")
}

/// The API of a control plane one version ahead: its objects have a field that this version does not know.
#[expect(clippy::disallowed_methods, reason = "a fake's server lives as long as its test")]
async fn newer(api: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = Router::new().fallback(async move |uri: axum::http::Uri| {
        let answer = reqwest::get(format!("{api}{uri}")).await.unwrap();
        let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
        (status, Json(with_a_field_more(answer.json().await.unwrap())))
    });
    tokio::spawn(async move { axum::serve(listener, relay).await });
    format!("http://{address}")
}

fn with_a_field_more(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(with_a_field_more).collect(),
        Value::Object(fields) => {
            // `to` is one of several things by its only key, and the keys of `ways` are names: there a key is no field.
            let fields = fields.into_iter().map(|(key, value)| {
                let keyed = ["to", "ways"].contains(&key.as_str());
                (key, if keyed { value } else { with_a_field_more(value) })
            });
            fields.chain([("of_the_next_version".to_owned(), json!({"a": 1}))]).collect()
        }
        other => other,
    }
}

/// An address on which nothing listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn systems() -> Value {
    json!([
        {"name": "trading", "services": ["orders", "quotes", "trading-gateway"], "has_gateway": true,
         "has_document": true, "hosts": ["trading.example.com"], "callers": ["portfolio"],
         "routes": [{"matches": "prefix /orders", "to": {"services": [{"service": "orders", "percent": 100}]}, "auth": "customers", "origin": "line 12"}]},
        {"name": "portfolio", "services": ["positions"], "has_gateway": false, "has_document": false,
         "hosts": [], "callers": null, "routes": []},
    ])
}

/// One System's routes, whichever is asked for; an unknown one is not found.
fn routes(query: &BTreeMap<String, String>) -> (StatusCode, Json<Value>) {
    if query.get("system").is_some_and(|system| system != "trading") {
        return (StatusCode::NOT_FOUND, Json(json!({"error": "no such System"})));
    }
    let routes = json!([
        {"matches": "prefix /orders, GET|HEAD", "hosts": [], "auth": "customers or partners",
         "to": {"services": [{"service": "audit", "percent": 10}, {"service": "orders", "percent": 90}]},
         "callers": ["portfolio"], "conversion": null, "timeout": "2s", "origin": "document trading, routes[0]"},
        {"matches": "prefix /v1", "hosts": ["trading.example.com"], "auth": "none",
         "to": {"services": [{"service": "quotes", "percent": 100}]},
         "callers": [], "conversion": "quotes quotes.v1.Quotes", "timeout": null, "origin": "document trading, routes[1]"},
        {"matches": "path /old", "hosts": [], "auth": "none", "to": {"redirect": {"status": 308, "location": "/orders"}},
         "callers": null, "conversion": null, "timeout": null, "origin": "document trading, routes[2]"},
        {"matches": "path /gone", "hosts": [], "auth": "none", "to": {"answer": 410},
         "callers": null, "conversion": null, "timeout": null, "origin": "document trading, routes[3]"},
    ]);
    let conversions = json!(["quotes quotes.v1.Quotes"]);
    (
        StatusCode::OK,
        Json(
            json!([{"system": "trading", "routes": routes, "conversions": conversions, "servers": [], "ways": {}, "rest": []}]),
        ),
    )
}

fn status() -> Value {
    json!({"version": "0.1.0", "ready": true, "reason": "served from disk", "generation": 7, "proxies": 2,
           "sources": [{"name": "last-good", "stale_seconds": null, "error": null},
                       {"name": "consul", "stale_seconds": 61, "error": "connection refused"}]})
}

fn services() -> Value {
    let instance = |id: &str, health: &str, track: &str| {
        json!({"id": id, "address": "10.0.0.7:20001", "health": health, "weight": 1, "track": track,
               "instance": id, "node": "host-1"})
    };
    json!([
        {"system": "trading", "name": "orders", "role": "service", "protocol": "http", "path": null,
         "upstreams": "quotes", "instances": [
            instance("a", "healthy", "stable"), instance("b", "unhealthy", "canary")]},
        {"system": "trading", "name": "quotes", "role": "service", "protocol": "grpc",
         "path": "/quotes", "upstreams": null, "instances": []},
    ])
}

fn proxy(id: &str, seconds: u64, pending: usize, nacked: &Value) -> Value {
    json!({"id": id, "cluster": "orders", "system": "trading", "role": "sidecar", "services": ["orders"],
           "agent": "1.40.0", "peer": "10.0.0.7:5", "mode": "delta", "connected_seconds": seconds,
           "types": [{"name": "cluster", "acked": 3, "pending": pending, "nacked": nacked, "version": "x"}]})
}

fn explanation() -> Value {
    json!({"id": "a/b", "role": "sidecar", "system": "trading",
           "items": [
             {"kind": "listener", "name": "inbound:20001", "what": "takes requests for orders", "because": "registration a"},
             {"kind": "route", "name": "quotes", "what": "authority quotes → quotes", "because": "default: all of its System"}],
           "problems": [{"subject": "registration b", "reason": "no port"}]})
}

async fn two_control_planes() -> String {
    let nack = json!([{"resource": "orders", "version": "1", "message": "bad cluster"}]);
    let one = json!([proxy("a", 90, 0, &json!([])), proxy("moved", 4_000, 2, &json!([]))]);
    let two = json!([proxy("z", 5, 1, &nack), proxy("moved", 3, 0, &json!([]))]);
    let problem = |subject: &str| json!({"subject": subject, "reason": "no port"});
    let first = control_plane(one, json!([problem("registration a"), problem("registration b")]));
    let second = control_plane(two, json!([problem("registration b")]));
    format!("{},{}", first.await, second.await)
}

/// What every listing shows of these control planes.
async fn listings(api: &str) -> String {
    let mut shown = String::new();
    for command in [
        &["get", "systems"][..],
        &["get", "routes"],
        &["get", "services"],
        &["get", "services", "--instances"],
        &["get", "proxies"],
        &["get", "problems"],
        &["explain", "a/b"],
    ] {
        let outcome = meshctl(&[command, &["--api", api]].concat()).await;
        assert_eq!((outcome.exit_code(), outcome.err.as_str()), (0, ""), "{outcome:?}");
        shown.push_str(&format!("$ meshctl {}\n{}\n", command.join(" "), outcome.out));
    }
    shown
}

#[tokio::test]
async fn tables_join_what_all_replicas_know() {
    let api = two_control_planes().await;
    assert_golden("show/tables.txt", &listings(&api).await);
}

#[tokio::test]
async fn control_planes_one_version_ahead_are_shown_as_todays() {
    let api = two_control_planes().await;
    let mut ahead = Vec::new();
    for one in api.split(',') {
        ahead.push(newer(one.to_owned()).await);
    }
    assert_eq!(listings(&ahead.join(",")).await, listings(&api).await);
    // One replica was upgraded, the other not yet.
    let mixed = format!("{},{}", ahead[0], api.split_once(',').unwrap().1);
    assert_eq!(listings(&mixed).await, listings(&api).await);
}

#[tokio::test]
async fn json_is_the_api_s_own_form() {
    let api = two_control_planes().await;
    let outcome = meshctl(&["get", "proxies", "--api", &api, "-o", "json"]).await;
    let proxies: Value = serde_json::from_str(&outcome.out).unwrap();
    let ids: Vec<&str> =
        proxies.as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "moved", "z"]);
    assert_eq!(proxies[1]["connected_seconds"], 3);
}

#[tokio::test]
async fn the_control_planes_say_how_fresh_they_are() {
    let api = control_plane(json!([]), json!([])).await;
    let outcome = meshctl(&["get", "status", "--api", &api]).await;
    for part in [
        api.as_str(),
        "yes: served from disk",
        "last-good answers",
        "consul has not answered for 1m: connection refused",
    ] {
        assert!(outcome.out.contains(part), "{part}: {outcome:?}");
    }
    let outcome = meshctl(&["get", "status", "--api", &api, "-o", "json"]).await;
    let states: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&states[0]["replica"], &states[0]["generation"]), (&json!(api), &json!(7)));
}

#[tokio::test]
async fn a_replica_that_is_gone_is_named_and_hides_nothing() {
    let (there, gone) = (two_control_planes().await, nobody().await);
    let outcome = meshctl(&["get", "problems", "--api", &format!("{there},{gone}")]).await;
    assert_eq!(outcome.exit_code(), 0);
    assert!(outcome.out.contains("registration a"), "{outcome:?}");
    assert!(outcome.err.starts_with(&format!("{gone}: does not answer (")), "{outcome:?}");
    assert!(outcome.err.contains("check that a control plane runs there"), "{outcome:?}");
}

#[tokio::test]
async fn routes_of_one_system_are_had_by_its_name() {
    let api = two_control_planes().await;
    let outcome = meshctl(&["get", "routes", "trading", "--api", &api, "-o", "json"]).await;
    let systems: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(systems, routes(&BTreeMap::new()).1.0, "{outcome:?}");
    let outcome = meshctl(&["get", "routes", "nobody", "--api", &api]).await;
    assert_eq!(outcome.exit_code(), 1);
    assert!(outcome.failure().contains("see meshctl get systems"), "{outcome:?}");
}

#[tokio::test]
async fn no_replica_at_all_is_exit_code_3_with_the_next_step() {
    let outcome = meshctl(&["get", "systems", "--api", &nobody().await]).await;
    assert_eq!((outcome.exit_code(), outcome.out.as_str()), (3, ""));
    assert!(outcome.failure().contains("say with --api where they are"), "{outcome:?}");
}

#[tokio::test]
async fn a_proxy_that_nobody_has_is_exit_code_1() {
    let outcome = meshctl(&["explain", "nobody", "--api", &two_control_planes().await]).await;
    assert_eq!(outcome.exit_code(), 1);
    assert!(outcome.failure().contains("see meshctl get proxies"), "{outcome:?}");
}

#[tokio::test]
async fn a_failure_is_json_too_where_a_program_reads() {
    let (api, gone) = (two_control_planes().await, nobody().await);
    let status = ["status", "orders", "--nomad", &gone, "--consul", &gone];
    for (command, code, why) in [
        (&["get", "systems", "--api", &gone][..], 3, "no control plane answers"),
        (&["get", "routes", "nobody", "--api", &api], 1, "knows a System nobody"),
        (&["get", "history", "nobody", "--consul", &gone], 3, "--consul says where it is"),
        (&["explain", "nobody", "--api", &api], 1, "has a proxy \"nobody\" connected"),
        (&status, 3, "--nomad says where it is"),
    ] {
        let outcome = meshctl(&[command, &["-o", "json"]].concat()).await;
        let said: Value = serde_json::from_str(&outcome.out).unwrap_or_default();
        assert_eq!((outcome.exit_code(), &said["exit_code"]), (code, &code.into()), "{outcome:?}");
        assert_eq!(said["error"], outcome.failure(), "{outcome:?}");
        assert!(outcome.failure().contains(why), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_control_plane_is_asked_directly_whatever_proxy_the_environment_names() {
    let (api, gone) = (control_plane(json!([]), json!([])).await, nobody().await);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_meshctl"));
    command.args(["get", "status", "--api", &api]).env("http_proxy", &gone).env_remove("no_proxy");
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_command_whose_complaint_nobody_reads_ends_with_its_exit_code_all_the_same() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_meshctl"));
    command.args(["status", "orders", "--nomad", &nobody().await]).stderr(writer);
    assert_eq!(command.status().await.unwrap().code(), Some(3));
}
