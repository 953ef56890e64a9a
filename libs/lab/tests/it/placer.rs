//! Pairs placed without a control plane: they run and are registered, and nothing is let in.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use contract::registration::Protocol;
use http::Method;
use lab::consul::{Consul, ConsulOptions};
use lab::folder::Folder;
use lab::netns::Network;
use lab::parts::{self, Parts};
use lab::placer::{Placer, ServiceSpec, Stop};
use lab::registry::Registry;
use lab::{ports, wait};
use serde_json::Value;

use crate::SOON;

fn placer(parts: &Parts, dir: &Folder, network: Option<Network>) -> Placer {
    let nobody = SocketAddr::from(([127, 0, 0, 1], ports::reserve().unwrap()));
    Placer {
        parts: parts.clone(),
        dir: dir.path().to_owned(),
        xds: vec![nobody],
        sotw: false,
        agent: None,
        network,
    }
}

fn orders(parts: &Parts) -> ServiceSpec {
    let mut spec =
        ServiceSpec::new("trading", "orders", Protocol::Http, parts.our("orders").unwrap());
    spec.shutdown_delay = Duration::from_secs(5);
    spec
}

async fn ids(consul: &Consul) -> Vec<String> {
    let services = consul.call(Method::GET, "/v1/agent/services", None).await.unwrap();
    services.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn an_instance_ends_in_nomad_s_order_registration_delay_application_sidecar() {
    let test = "an_instance_ends_in_nomad_s_order_registration_delay_application_sidecar";
    let Some(parts) = parts::parts_or_skip(test, &["meshctl", "orders"]) else { return };
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let dir = Folder::new("lab").unwrap();
    let consul = Consul::start(&binary, dir.path(), &ConsulOptions::default()).await.unwrap();
    let placer = placer(&parts, &dir, None);
    let registry = Registry::Consul(&consul);
    let mut placed = placer.place(registry, &orders(&parts)).await.unwrap();
    let id = format!("_nomad-task-{}-group-orders-orders-mesh", placed.id());
    assert_eq!(ids(&consul).await, [id]);
    assert_eq!(consul.passing("orders").await.unwrap(), Vec::<String>::new());
    let processes = [placed.app_mut().unwrap().id().unwrap(), placed.envoy_mut().process().id()];
    let alive = |id: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    let steps = std::sync::Mutex::new(Vec::new());
    let watch = wait::until("all is gone", SOON, async || {
        let state = (!ids(&consul).await.is_empty(), alive(processes[0]), alive(processes[1]));
        let mut steps = steps.lock().unwrap();
        if steps.last() != Some(&state) {
            steps.push(state);
        }
        if state == (false, false, false) { Ok(()) } else { Err(format!("{state:?}")) }
    });
    let (stopped, watched) = tokio::join!(placer.stop(registry, placed, Stop::Drained), watch);
    stopped.unwrap();
    watched.unwrap();
    let steps = steps.into_inner().unwrap();
    assert!(steps.contains(&(false, true, true)), "{steps:?}");
    assert!(!steps.contains(&(false, true, false)), "{steps:?}");
}

#[tokio::test]
async fn in_host_mode_no_two_instances_share_a_port_and_the_meta_names_them() {
    let test = "in_host_mode_no_two_instances_share_a_port_and_the_meta_names_them";
    let Some(parts) = parts::parts_or_skip(test, &["meshctl"]) else { return };
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let dir = Folder::new("lab").unwrap();
    let consul = Consul::start(&binary, dir.path(), &ConsulOptions::default()).await.unwrap();
    let placer = placer(&parts, &dir, None);
    let registry = Registry::Consul(&consul);
    let one = placer.place(registry, &ServiceSpec::gateway("trading")).await.unwrap();
    let two = placer.place(registry, &ServiceSpec::gateway("trading")).await.unwrap();
    let services = consul.call(Method::GET, "/v1/agent/services", None).await.unwrap();
    let mut ports = BTreeSet::new();
    for placed in [&one, &two] {
        let service = &services[&placed.registration().id];
        let meta = |key: &str| service["Meta"][key].as_str().unwrap().to_owned();
        assert_eq!((meta("mesh_role"), meta("mesh_system")), ("gateway".into(), "trading".into()));
        assert_eq!(meta("mesh_instance"), placed.id());
        ports.insert(service["Port"].as_u64().map(|port| port.to_string()).unwrap());
        ports.insert(meta("mesh_ingress"));
        ports.insert(meta("mesh_stats"));
    }
    assert_eq!(ports.len(), 6, "{ports:?}");
}

#[tokio::test]
async fn in_a_namespace_every_pair_has_the_same_ports_and_an_address_of_its_own() {
    let test = "in_a_namespace_every_pair_has_the_same_ports_and_an_address_of_its_own";
    if let Err(why) = Network::is_possible() {
        return parts::skip(test, "netns", &why);
    }
    let Some(parts) = parts::parts_or_skip(test, &["meshctl", "orders"]) else { return };
    let Some(binary) = parts::real_part_or_skip(test, "consul") else { return };
    let dir = Folder::new("lab").unwrap();
    let network = Network::create().unwrap();
    let host = Some((network.host().clone(), network.host_address()));
    let options = ConsulOptions { host, ..ConsulOptions::default() };
    let consul = Consul::start(&binary, dir.path(), &options).await.unwrap();
    let placer = placer(&parts, &dir, Some(network));
    let registry = Registry::Consul(&consul);
    let one = placer.place(registry, &orders(&parts)).await.unwrap();
    let two = placer.place(registry, &orders(&parts)).await.unwrap();
    assert_ne!(one.address().ip(), two.address().ip());
    assert_eq!((one.address().port(), two.address().port()), (10000, 10000));
    for placed in [&one, &two] {
        let (client, _) = placed.egress().unwrap();
        let app = SocketAddr::from(([127, 0, 0, 1], 8080));
        let answer = wait::until("the application answers inside", SOON, async || {
            client.get(app, "localhost", "/orders/7").await
        });
        let order: Value = answer.await.unwrap().json().unwrap();
        assert_eq!(order["instance"], placed.instance());
    }
}
