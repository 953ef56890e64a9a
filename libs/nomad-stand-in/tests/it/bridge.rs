//! Network namespaces of allocations: what they are told, who reaches whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use http::Method;
use lab::folder::Folder;
use lab::http::Client;
use lab::netns::Network;
use lab::nomad::NomadOptions;
use lab::process::{Process, Program};
use lab::{chain, parts, wait};
use serde_json::{Value, json};

use crate::support::{SOON, Scene, Web, image, orders};

/// An agent on a host of its own, with that host.
async fn host(test: &str, options: NomadOptions) -> Option<(Scene, Network)> {
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
        ..options
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
    let Some((scene, network)) = host("bridge", NomadOptions::default()).await else { return };
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
    let Some((scene, network)) = host("hairpin", NomadOptions::default()).await else { return };
    scene.run_detached(&bridged(&scene, &Web { count: 2, ..Web::default() })).await;
    scene.deployed("web", "successful").await;
    let all = addresses(&scene, "web").await;
    assert_eq!(all.len(), 2);
    let client = Client::inside(Some(network.host()));
    let port = scene.nomad.address().port();
    let host = network.host_address();
    // The agent listens on the host's address alone; this stands for whatever listens on all of the host's.
    let program = Program::new("everywhere", &parts::real_part("python3").unwrap())
        .args(["-m", "http.server", "--bind", "0.0.0.0", "9000"])
        .in_netns(Some(network.host()));
    let _everywhere = Process::start(&program, scene.folder.path()).unwrap();
    let there = SocketAddr::from((host, 9000));
    wait::until("it listens", SOON, async || client.get(there, "host", "/").await.map(drop))
        .await
        .unwrap();
    for own in &all {
        let ask = async |url: String| {
            client.get(*own, "app", &format!("/ask?{url}")).await.unwrap().text()
        };
        for other in &all {
            assert_eq!(ask(format!("http://{other}/")).await, "200", "{own} asks {other}");
        }
        assert_eq!(ask("http://127.0.0.1:10000/".to_owned()).await, "200");
        assert_eq!(ask(format!("http://{host}:{port}/v1/status/leader")).await, "200");
        for address in [host.to_string(), "172.26.64.1".to_owned()] {
            assert_eq!(ask(format!("http://{address}:9000/")).await, "200", "{address}");
        }
        let loopback = ask("http://127.0.0.1:9000/".to_owned()).await;
        assert!(loopback.starts_with("no: "), "{loopback}");
    }
}

/// Such a host with an image of the sample `orders`, whose path on this machine and in the image is the third; and what
/// the image is in.
async fn host_with_image(test: &str) -> Option<(Scene, Network, PathBuf, Folder)> {
    let program = parts::our("orders");
    let program = program.map_err(|error| parts::skip(test, "ours", &chain(&error))).ok()?;
    let images = Folder::new("images").unwrap();
    if !image(test, &images.path().join("local/box:1"), &[&program]) {
        return None;
    }
    let options =
        NomadOptions { images: Some(images.path().to_owned()), ..NomadOptions::default() };
    let (scene, network) = host(test, options).await?;
    if !scene.nomad.is_stand_in() {
        parts::skip(test, "dockerd", "a real Nomad needs Docker, with this image");
        return None;
    }
    Some((scene, network, program, images))
}

#[tokio::test]
async fn every_driver_serves_behind_a_bridge() {
    let Some((scene, network, program, _images)) = host_with_image("drivers in a bridge").await
    else {
        return;
    };
    let client = Client::inside(Some(network.host()));
    for (driver, config) in [
        ("exec", json!({"command": &program})),
        ("docker", json!({"command": &program, "image": "local/box:1"})),
    ] {
        let network = json!({"Mode": "bridge", "DynamicPorts": [{"Label": "app", "To": 8080}]});
        let job = orders(driver, driver, config, network, "0.0.0.0:${NOMAD_PORT_app}");
        scene.nomad.call(Method::POST, "/v1/jobs", Some(job)).await.unwrap();
        scene.deployed(driver, "successful").await;
        let address = addresses(&scene, driver).await[0];
        let answer = client.get(address, "app", "/orders/7").await.unwrap().json().unwrap();
        assert_eq!(answer["instance"], driver);
    }
}

#[tokio::test]
async fn a_container_in_the_hosts_network_has_its_addresses_only_where_it_asks_for_them() {
    let Some((scene, _network, program, _images)) = host_with_image("docker without bridge").await
    else {
        return;
    };
    let job = |mode: Option<&str>| {
        let mut config = json!({"image": "local/box:1", "command": &program});
        if let Some(mode) = mode {
            config["network_mode"] = json!(mode);
        }
        let network = json!({"DynamicPorts": [{"Label": "app"}]});
        orders("orders", "docker", config, network, "${NOMAD_ADDR_app}")
    };
    scene.nomad.call(Method::POST, "/v1/jobs", Some(job(None))).await.unwrap();
    let failed = |all: &Value| all[0]["ClientStatus"] == "failed";
    let all = scene.until("it fails", "/v1/job/orders/allocations", failed).await;
    let id = all[0]["ID"].as_str().unwrap();
    let said = scene.say(&["alloc", "logs", "-stderr", id]).await;
    assert!(said.out.contains("Cannot assign requested address"), "{said:?}");
    scene.nomad.call(Method::POST, "/v1/jobs", Some(job(Some("host")))).await.unwrap();
    // Its check passes, and Nomad asks from the host.
    scene
        .until("it is deployed", "/v1/job/orders/deployment", |own| {
            own["JobVersion"] == 1 && own["Status"] == "successful"
        })
        .await;
}
