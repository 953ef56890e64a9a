//! A real Consul: what wakes, KV with check-and-set, HTTP/2 sharing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use consul::testing::{ConsulOptions, ConsulProcess};
use consul::{
    CheckDefinition, Consistency, ConsulClient, ConsulConfig, ConsulError, Query,
    ServiceDefinition, TtlStatus,
};

use crate::soon;

fn a_service(id: &str) -> ServiceDefinition {
    let check = CheckDefinition {
        check_id: format!("ttl-{id}"),
        name: "ttl".to_owned(),
        ttl: Some("60s".to_owned()),
        status: Some("passing".to_owned()),
        ..CheckDefinition::default()
    };
    ServiceDefinition {
        id: id.to_owned(),
        name: "web".to_owned(),
        address: "127.0.0.1".to_owned(),
        port: 8080,
        meta: BTreeMap::from([("mesh_system".to_owned(), "trading".to_owned())]),
        checks: vec![check],
        ..ServiceDefinition::default()
    }
}

#[tokio::test]
async fn registrations_checks_and_deregistrations_wake_a_watch_at_once() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    assert!(client.leader().await.unwrap().is_some());
    let mut watch = client.watch(Query::health_service("web")).unwrap();
    assert!(soon(watch.next()).await.unwrap().value.is_empty());

    client.register_service(&a_service("web-1")).await.unwrap();
    let registered = Instant::now();
    let entries = loop {
        let answer = soon(watch.next()).await.unwrap();
        if answer.value.iter().any(|entry| entry.checks.len() == 2) {
            break answer.value;
        }
    };
    assert!(registered.elapsed() < Duration::from_millis(500), "{:?}", registered.elapsed());
    assert_eq!(entries[0].service.port, 8080);
    assert_eq!(entries[0].service.meta["mesh_system"], "trading");

    client.update_ttl("ttl-web-1", TtlStatus::Critical, "out of order").await.unwrap();
    let is_critical =
        |entry: &consul::ServiceEntry| entry.checks.iter().any(|check| check.status == "critical");
    while !soon(watch.next()).await.unwrap().value.iter().any(is_critical) {}

    client.deregister_service("web-1").await.unwrap();
    while !soon(watch.next()).await.unwrap().value.is_empty() {}
}

#[tokio::test]
async fn keys_are_written_with_check_and_set() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    let mut watch = client.watch(Query::keys_below("mesh/systems/")).unwrap();
    assert!(soon(watch.next()).await.unwrap().value.is_empty());

    assert!(client.put_key("mesh/systems/trading", "kind: System\n", Some(0)).await.unwrap());
    assert!(!client.put_key("mesh/systems/trading", "late", Some(0)).await.unwrap());
    let listed = soon(watch.next()).await.unwrap().value;
    assert_eq!(listed[0].key, "mesh/systems/trading");
    assert_eq!(listed[0].value, b"kind: System\n");

    let index = listed[0].modify_index;
    assert!(client.put_key("mesh/systems/trading", "newer", Some(index)).await.unwrap());
    assert!(!client.delete_key("mesh/systems/trading", Some(index)).await.unwrap());
    let key =
        client.get_key("mesh/systems/trading", Consistency::Consistent).await.unwrap().unwrap();
    assert_eq!(key.value, b"newer");
    assert!(client.delete_key("mesh/systems/trading", Some(key.modify_index)).await.unwrap());
    assert_eq!(client.get_key("mesh/systems/trading", Consistency::Default).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_is_taken_only_as_it_was_looked_at() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    let (key, ttl) = ("mesh/deploys/orders", Duration::from_secs(10));
    let first = client.create_session("first", ttl).await.unwrap();
    let second = client.create_session("second", ttl).await.unwrap();
    let index = async || {
        let found = client.get_key(key, Consistency::Consistent).await.unwrap();
        found.map_or(0, |own| own.modify_index)
    };
    assert!(!client.lock_key_at(key, b"begun", &first, 7).await.unwrap(), "there is none yet");
    assert!(client.lock_key_at(key, b"begun", &first, 0).await.unwrap());
    let held = index().await;
    assert!(!client.lock_key_at(key, b"mine", &second, held).await.unwrap(), "it is held");
    client.destroy_session(&first).await.unwrap();
    assert!(!client.lock_key_at(key, b"mine", &second, 0).await.unwrap(), "there is one");
    assert!(!client.lock_key_at(key, b"mine", &second, held).await.unwrap(), "it has changed");
    let found = client.get_key(key, Consistency::Consistent).await.unwrap().unwrap();
    assert_eq!((found.value.as_slice(), found.session), (&b"begun"[..], None));
    assert!(client.lock_key_at(key, b"mine", &second, index().await).await.unwrap());
}

#[tokio::test]
async fn a_key_is_held_by_one_session_and_keeps_its_value_when_the_session_ends() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    let key = "mesh/deploys/orders";
    let ttl = Duration::from_secs(10);
    let first = client.create_session("first", ttl).await.unwrap();
    let second = client.create_session("second", ttl).await.unwrap();

    assert!(client.lock_key(key, "begun", &first).await.unwrap());
    assert!(!client.lock_key(key, "mine", &second).await.unwrap());
    assert!(client.lock_key(key, "half-way", &first).await.unwrap());
    let held = client.get_key(key, Consistency::Consistent).await.unwrap().unwrap();
    assert_eq!(
        (held.value.as_slice(), held.session.as_ref()),
        (b"half-way".as_slice(), Some(&first))
    );
    assert!(client.renew_session(&first).await.unwrap());

    client.destroy_session(&first).await.unwrap();
    client.destroy_session(&first).await.unwrap();
    assert!(!client.renew_session(&first).await.unwrap());
    let left = client.get_key(key, Consistency::Consistent).await.unwrap().unwrap();
    assert_eq!((left.value.as_slice(), left.session), (b"half-way".as_slice(), None));
    assert!(client.lock_key(key, "mine", &second).await.unwrap());
    assert!(client.lock_key(key, "late", &first).await.is_err());
}

#[tokio::test]
async fn three_hundred_watches_share_two_tls_connections_and_wake_together() {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["consul.example".to_owned()]).unwrap();
    let tls = Some((cert.pem(), signing_key.serialize_pem()));
    let options = ConsulOptions { tls, ..ConsulOptions::default() };
    let Some(consul) = ConsulProcess::start(options).await else { return };
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, cert.pem()).unwrap();
    let mut config = ConsulConfig::new(consul.tls_url());
    config.ca_file = Some(ca_file);
    config.tls_server_name = Some("consul.example".to_owned());
    let client = ConsulClient::new(config).unwrap();

    let mut watches: Vec<_> =
        (0..300).map(|_| client.watch(Query::health_service("web")).unwrap()).collect();
    for watch in &mut watches {
        soon(watch.next()).await.unwrap();
    }
    assert_eq!(consul.tls_connections().unwrap(), 2);
    let mut waiting = tokio::task::JoinSet::new();
    for mut watch in watches {
        waiting.spawn(async move {
            // A wake-up may show nothing new: whoever watches an absent service is woken by every change of a node,
            // and a young agent still writes its own node's data.
            while watch.next().await?.value.is_empty() {}
            Ok::<_, ConsulError>(watch)
        });
    }
    consul.client().unwrap().register_service(&a_service("web-1")).await.unwrap();
    let watches = soon(waiting.join_all()).await;
    let failed: Vec<_> = watches.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(consul.tls_connections().unwrap(), 2);
}
