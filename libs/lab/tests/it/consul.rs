//! A real Consul agent: what survives what.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use http::Method;
use lab::consul::{Consul, ConsulOptions};
use lab::folder::Folder;
use lab::http::Client;
use lab::registry::{Check, Registration, Registry};
use lab::{LabError, parts, wait};
use serde_json::{Value, json};

use crate::SOON;

fn registration(address: SocketAddr) -> Registration {
    Registration {
        id: "_nomad-task-7d3-group-orders-orders-mesh".to_owned(),
        name: "orders".to_owned(),
        address,
        meta: BTreeMap::from([("mesh_system".to_owned(), "trading".to_owned())]),
        tags: vec!["v1".to_owned()],
        weight: 7,
        check: Check::Tcp,
    }
}

async fn health(consul: &Consul) -> Value {
    consul.call(Method::GET, "/v1/health/service/orders", None).await.unwrap()
}

#[tokio::test]
async fn a_registration_is_what_nomad_s_would_be_and_passes_once_its_check_does() {
    let test = "a_registration_is_what_nomad_s_would_be_and_passes_once_its_check_does";
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let dir = Folder::new("lab").unwrap();
    let consul = Consul::start(&binary, dir.path(), &ConsulOptions::default()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let registration = registration(address);
    let registry = Registry::Consul(&consul);
    registry.register(&registration).await.unwrap();
    wait::until("the instance passes", SOON, async || match consul.passing("orders").await {
        Ok(passing) if passing == [registration.id.clone()] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    let entry = health(&consul).await[0]["Service"].clone();
    assert_eq!(entry["Address"], "127.0.0.1");
    assert_eq!(entry["Port"], address.port());
    assert_eq!(entry["Weights"]["Passing"], 7);
    let meta = json!({"mesh_system": "trading", "external-source": "nomad"});
    assert_eq!((&entry["Meta"], &entry["Tags"]), (&meta, &json!(["v1"])));
    registry.deregister("orders", &registration.id).await.unwrap();
    assert_eq!(health(&consul).await, json!([]));
}

#[tokio::test]
async fn a_durable_agent_comes_back_after_a_kill_with_its_registrations_and_address() {
    let test = "a_durable_agent_comes_back_after_a_kill_with_its_registrations_and_address";
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let dir = Folder::new("lab").unwrap();
    let options = ConsulOptions { durable: true, ..ConsulOptions::default() };
    let mut consul = Consul::start(&binary, dir.path(), &options).await.unwrap();
    let (address, none) = (consul.address(), SocketAddr::from(([127, 0, 0, 1], 9)));
    Registry::Consul(&consul).register(&registration(none)).await.unwrap();
    consul.kill().await.unwrap();
    assert!(Client::new().get(address, "consul", "/v1/status/leader").await.is_err());
    consul.start_again().await.unwrap();
    assert_eq!(consul.address(), address);
    wait::until("the registration is back", SOON, async || {
        match health(&consul).await.as_array().map(Vec::len) {
            Some(1) => Ok(()),
            other => Err(format!("{other:?} instances")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_frozen_agent_takes_connections_and_answers_nothing_until_it_goes_on() {
    let test = "a_frozen_agent_takes_connections_and_answers_nothing_until_it_goes_on";
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let dir = Folder::new("lab").unwrap();
    let mut consul = Consul::start(&binary, dir.path(), &ConsulOptions::default()).await.unwrap();
    consul.freeze().await.unwrap();
    let question = consul.call(Method::GET, "/v1/status/leader", None);
    let silence = tokio::time::timeout(std::time::Duration::from_millis(300), question).await;
    assert!(silence.is_err(), "{silence:?}");
    consul.thaw().unwrap();
    consul.call(Method::GET, "/v1/status/leader", None).await.unwrap();
}

#[tokio::test]
async fn with_access_control_a_token_sees_what_its_rules_allow() {
    let test = "with_access_control_a_token_sees_what_its_rules_allow";
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let dir = Folder::new("lab").unwrap();
    let options = ConsulOptions {
        management_token: Some("0a1b2c3d-0000-4000-8000-000000000001".to_owned()),
        ..ConsulOptions::default()
    };
    let consul = Consul::start(&binary, dir.path(), &options).await.unwrap();
    let rules = "key_prefix \"mesh/\" { policy = \"read\" }";
    let token = consul.create_token("reader", rules).await.unwrap();
    let path = "/v1/kv/mesh/systems/trading";
    consul.call(Method::PUT, path, Some(json!("text"))).await.unwrap();
    let read = |token: Option<String>| async {
        let mut request = http::Request::get(path).header("host", "consul");
        if let Some(token) = token {
            request = request.header("x-consul-token", token);
        }
        let body = bytes::Bytes::new();
        Ok::<_, LabError>(Client::new().exchange(consul.address(), request, body).await?.status)
    };
    assert_eq!(read(Some(token)).await.unwrap(), 200);
    assert_ne!(read(None).await.unwrap(), 200);
}
