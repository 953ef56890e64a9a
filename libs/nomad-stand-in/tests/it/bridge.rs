//! Network namespaces of allocations: what they are told, who reaches whom.

use std::net::SocketAddr;

use lab::http::Client;
use lab::netns::Network;
use lab::nomad::NomadOptions;
use lab::parts;
use serde_json::{Value, json};

use crate::support::{Scene, Web};

/// An agent on a host of its own, with that host.
async fn host(test: &str) -> Option<(Scene, Network)> {
    if let Err(why) = Network::is_possible() {
        parts::skip(test, "netns", &why);
        return None;
    }
    let network = Network::create().unwrap();
    // A real one has no bridge without these; CNI's plugins are where Debian puts them.
    let client = json!({
        "enabled": true, "cni_path": "/usr/lib/cni", "network_interface": "mesh0",
        "bridge_network_hairpin_mode": true,
        "options": {"fingerprint.denylist": "env_aws,env_gce,env_azure,env_digitalocean"},
    });
    let options = NomadOptions {
        host: Some((network.host().clone(), network.host_address())),
        config: json!({"client": client}),
        ..NomadOptions::default()
    };
    Some((Scene::with(test, options).await?, network))
}

/// A job whose application is in a bridge, or in the host's network.
fn bridged(scene: &Scene, web: &Web) -> String {
    let own = scene.app("app", "0.0.0.0:${NOMAD_PORT_app}");
    let of_host = scene.app("app", "${NOMAD_ADDR_app}");
    let text = scene.web(web).replacen(&of_host, &own, 1);
    text.replacen("port \"app\" {}", "mode = \"bridge\"\nport \"app\" {\nto = 10000\n}", 1)
}

/// Where the host has each instance of a service.
async fn addresses(scene: &Scene, service: &str) -> Vec<SocketAddr> {
    let all = scene.get(&format!("/v1/service/{service}")).await;
    let address = |own: &Value| {
        format!("{}:{}", own["Address"].as_str().unwrap(), own["Port"]).parse().unwrap()
    };
    all.as_array().unwrap().iter().map(address).collect()
}

#[tokio::test]
async fn in_a_bridge_the_port_is_the_inner_one_and_the_address_the_hosts() {
    let Some((scene, network)) = host("bridge").await else { return };
    scene.run_detached(&bridged(&scene, &Web::default())).await;
    scene.deployed("web", "successful").await;
    let address = addresses(&scene, "web").await[0];
    assert_eq!(address.ip(), network.host_address());
    assert!((20_000..32_000).contains(&address.port()), "{address}");
    let client = Client::inside(Some(network.host()));
    let own = client.get(address, "app", "/env").await.unwrap().json().unwrap();
    for (key, value) in [
        ("NOMAD_PORT_app", "10000".to_owned()),
        ("NOMAD_ALLOC_PORT_app", "10000".to_owned()),
        ("NOMAD_HOST_PORT_app", address.port().to_string()),
        ("NOMAD_IP_app", address.ip().to_string()),
        ("NOMAD_HOST_IP_app", address.ip().to_string()),
        // Never a listen address: the host's, with the host's port.
        ("NOMAD_ADDR_app", address.to_string()),
    ] {
        assert_eq!(own[key], value, "{key}");
    }
    if scene.nomad.is_stand_in() {
        // As 2.0.5; 1.6.10 has none.
        let inner = own["NOMAD_ALLOC_IP_app"].as_str().unwrap();
        assert!(inner.starts_with("172.26."), "{inner}");
        assert_eq!(own["NOMAD_ALLOC_ADDR_app"], format!("{inner}:10000"));
    }
}

#[tokio::test]
async fn an_allocation_reaches_all_instances_its_own_included_and_the_host_but_at_no_loopback() {
    let Some((scene, network)) = host("hairpin").await else { return };
    scene.run_detached(&bridged(&scene, &Web { count: 2, ..Web::default() })).await;
    scene.deployed("web", "successful").await;
    let all = addresses(&scene, "web").await;
    assert_eq!(all.len(), 2);
    let client = Client::inside(Some(network.host()));
    let port = scene.nomad.address().port();
    let host = network.host_address();
    for own in &all {
        let ask = async |url: String| {
            client.get(*own, "app", &format!("/ask?{url}")).await.unwrap().text()
        };
        for other in &all {
            assert_eq!(ask(format!("http://{other}/")).await, "200", "{own} asks {other}");
        }
        assert_eq!(ask("http://127.0.0.1:10000/".to_owned()).await, "200");
        // The agent listens on the host's address alone, which stands for whatever listens there.
        assert_eq!(ask(format!("http://{host}:{port}/v1/status/leader")).await, "200");
        let loopback = ask(format!("http://127.0.0.1:{port}/v1/status/leader")).await;
        assert!(loopback.starts_with("no: "), "{loopback}");
    }
}
