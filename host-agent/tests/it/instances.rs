//! Who is who on this host, as a real Consul tells it, and what is kept when it tells nothing or nonsense.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consul::testing::{
    ConsulOptions, ConsulProcess, Reply, ScriptedConsul, install_crypto_provider,
};
use consul::{ConsulClient, ConsulConfig, ServiceDefinition};
use host_agent::instances::{Instances, InstancesConfig, InstancesFollower};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const ALLOCATION: &str = "6f1c5c1e-0000-4000-8000-000000000001";

/// Followed instances; ends with its value.
struct Followed {
    instances: watch::Receiver<Arc<Instances>>,
    _task: JoinSet<()>,
}

impl Followed {
    fn start(client: ConsulClient, keep_gone: Duration) -> Self {
        let config = InstancesConfig {
            consul: true,
            node: None,
            datacenter: None,
            keep_gone,
            written: Vec::new(),
        };
        let (follower, instances) = InstancesFollower::new(client, config);
        let mut task = JoinSet::new();
        task.spawn(async move { follower.run(CancellationToken::new()).await.unwrap() });
        Self { instances, _task: task }
    }

    /// Within ten seconds, or the test fails.
    async fn soon(&mut self, what: &str, is_so: impl Fn(&Instances) -> bool) -> Arc<Instances> {
        let found = self.instances.wait_for(|instances| is_so(instances));
        tokio::time::timeout(Duration::from_secs(10), found).await.expect(what).unwrap().clone()
    }
}

fn client_of(url: String) -> ConsulClient {
    install_crypto_provider();
    let mut config = ConsulConfig::new(url);
    config.limits.backoff_min = Duration::from_millis(5);
    config.limits.backoff_max = Duration::from_millis(20);
    ConsulClient::new(config).unwrap()
}

fn orders(port: u16, system: &str) -> ServiceDefinition {
    ServiceDefinition {
        id: format!("_nomad-task-{ALLOCATION}-group-web-orders-http"),
        name: "orders".to_owned(),
        address: "127.0.0.1".to_owned(),
        port,
        meta: BTreeMap::from([("mesh_system".to_owned(), system.to_owned())]),
        ..ServiceDefinition::default()
    }
}

#[tokio::test]
async fn registrations_are_found_while_they_are_there_and_for_a_while_after() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    let mut followed = Followed::start(client.clone(), Duration::from_secs(1));
    let first = followed.soon("Consul was read", |instances| instances.is_read).await;
    assert_eq!(first.datacenter, client.agent_identity().await.unwrap().datacenter);
    assert!(!first.node.is_empty());

    client.register_service(&orders(8080, "trading")).await.unwrap();
    let known = |instances: &Instances| instances.of_allocation(ALLOCATION).is_some();
    let there = followed.soon("orders is known", known).await;
    let instance = there.at("127.0.0.1:8080".parse().unwrap()).unwrap();
    assert_eq!((instance.system(), instance.name()), (Some("trading"), ALLOCATION));

    client.register_service(&orders(8081, "Trading")).await.unwrap();
    let bad = |instances: &Instances| {
        instances.of_allocation(ALLOCATION).is_some_and(|one| one.registration.is_err())
    };
    let rejected = followed.soon("its bad meta is named", bad).await;
    assert_eq!(rejected.of_allocation(ALLOCATION).unwrap().port, 8081);

    client.deregister_service(&orders(0, "").id).await.unwrap();
    let gone = |instances: &Instances| {
        instances.of_allocation(ALLOCATION).is_some_and(|one| one.gone.is_some())
    };
    followed.soon("it is marked as gone", gone).await;
    followed.soon("it is forgotten", |instances| !known(instances)).await;
}

#[tokio::test]
async fn what_is_known_stays_while_consul_is_away_and_follows_when_it_is_back() {
    let options = ConsulOptions { is_persistent: true, ..ConsulOptions::default() };
    let Some(mut consul) = ConsulProcess::start(options).await else { return };
    let client = consul.client().unwrap();
    client.register_service(&orders(8080, "trading")).await.unwrap();
    let mut followed = Followed::start(client_of(consul.url()), Duration::from_secs(60));
    let present = |instances: &Instances| {
        instances.of_allocation(ALLOCATION).is_some_and(|one| one.gone.is_none())
    };
    followed.soon("orders is known", present).await;

    consul.kill().unwrap();
    let away =
        followed.soon("the failure is seen", |instances| instances.failing_since.is_some()).await;
    assert!(present(&away));
    consul.restart().await.unwrap();
    let back =
        followed.soon("Consul is read again", |instances| instances.failing_since.is_none()).await;
    assert!(present(&back));
}

#[tokio::test]
async fn a_token_that_loses_its_rights_takes_nothing_out() {
    let options = ConsulOptions { has_acl: true, ..ConsulOptions::default() };
    let Some(consul) = ConsulProcess::start(options).await else { return };
    consul.client().unwrap().register_service(&orders(8080, "trading")).await.unwrap();
    let rules = r#"agent_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    let with_services = format!(r#"{rules} service_prefix "" {{ policy = "read" }}"#);
    let policy = |rules: &str| serde_json::json!({"Name": "host", "Rules": rules}).to_string();
    let made = consul.call("PUT", "acl/policy", policy(&with_services)).await.unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    let token =
        r#"{"SecretID": "5a1f9c1e-0000-4000-8000-000000000077", "Policies": [{"Name": "host"}]}"#;
    consul.call("PUT", "acl/token", token).await.unwrap();

    let mut config = ConsulConfig::new(consul.url());
    let secret = "5a1f9c1e-0000-4000-8000-000000000077".to_owned();
    config.token = consul::Token::Value(service::secret::Secret::new(secret));
    // A blocked query goes on with the rights of its begin.
    config.wait = Duration::from_secs(1);
    let mut followed = Followed::start(ConsulClient::new(config).unwrap(), Duration::ZERO);
    let known = |instances: &Instances| instances.of_allocation(ALLOCATION).is_some();
    followed.soon("orders is known", known).await;

    let id = made["ID"].as_str().unwrap();
    consul.call("PUT", &format!("acl/policy/{id}"), policy(rules)).await.unwrap();
    let failing =
        followed.soon("the loss is doubted", |instances| instances.failing_since.is_some()).await;
    assert!(known(&failing));
}

#[tokio::test]
async fn an_empty_answer_that_is_not_confirmed_takes_nothing_out() {
    let node = |services: &str| {
        format!(r#"{{"Node": {{"Node": "n1", "Address": "127.0.0.1"}}, "Services": {services}}}"#)
    };
    let full = node(r#"{"a": {"ID": "a", "Service": "orders", "Port": 8080, "Meta": null}}"#);
    let empty = node("{}");
    let server = ScriptedConsul::start(move |call, nth| match call.path.as_str() {
        "/v1/agent/self" => {
            Reply::status(200, r#"{"Config": {"NodeName": "n1", "Datacenter": "dc1"}}"#)
        }
        "/v1/catalog/services" => Reply::json(7, r#"{"orders": []}"#),
        // What was wrong by mistake once is right when asked again with `consistent`.
        _ if call.parameters.contains("consistent") => Reply::json(8, &full),
        _ if nth == 1 => Reply::json(7, &empty),
        _ if nth > 2 => Reply::hang(),
        _ => Reply::json(6 + nth as u64, &full),
    })
    .await
    .unwrap();
    let mut followed = Followed::start(client_of(server.url()), Duration::ZERO);
    let known = |instances: &Instances| instances.of_id("a").is_some();
    followed.soon("it is known", known).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !server.calls().iter().any(|call| call.parameters.contains("consistent")) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", server.calls());
        assert!(known(&followed.instances.borrow()));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(known(&followed.instances.borrow()));
}
