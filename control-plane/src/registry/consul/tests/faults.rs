//! Consul fails in its various ways: nothing shrinks, the failure shows, and recovery needs no restart.

use ::consul::Token;
use ::consul::testing::ConsulOptions;
use ::service::secret::Secret;

use super::*;

const READ_ALL: &str = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" } key_prefix "mesh/" { policy = "read" }"#;
const READ_SERVICES: &str =
    r#"service_prefix "" { policy = "read" } key_prefix "mesh/" { policy = "read" }"#;
const READ_CATALOGUE: &str =
    r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
const TOKEN: &str = "5a1f9c1e-0000-4000-8000-0000000000aa";

fn has_all(seen: &Seen) -> bool {
    seen.ids("web") == ["web-1", "web-2"]
        && seen.ids("db") == ["db-1"]
        && seen.listing.contains("web")
        && seen.listing.contains("db")
        && seen.documents.as_ref().is_some_and(|documents| documents.contains_key("trading"))
}

async fn fill(consul: &ConsulProcess) {
    let client = consul.client().unwrap();
    for (name, id) in [("web", "web-1"), ("web", "web-2"), ("db", "db-1")] {
        client.register_service(&a_service(name, id)).await.unwrap();
    }
    client.put_key("mesh/systems/trading", "name: trading", None).await.unwrap();
}

#[tokio::test]
async fn a_consul_that_hangs_or_restarts_takes_nothing_away() {
    let options = ConsulOptions { is_persistent: true, ..ConsulOptions::default() };
    let Some(mut consul) = ConsulProcess::start(options).await else { return };
    fill(&consul).await;
    let mut observer = Observer::start(impatient(consul.url()), attentive());
    observer.until("all is there", has_all).await;

    consul.freeze().unwrap();
    observer.until("the silence shows", |seen| seen.error("consul").is_some()).await;
    observer.hold_true(Duration::from_secs(1), "nothing shrinks", has_all).await;
    consul.thaw().unwrap();
    observer.until("it answers again", |seen| seen.error("consul").is_none()).await;
    assert!(has_all(&observer.seen));

    consul.kill().unwrap();
    observer
        .until("its end shows", |seen| {
            seen.error("consul").is_some() && seen.error("consul-kv").is_some()
        })
        .await;
    observer.hold_true(Duration::from_secs(1), "nothing shrinks", has_all).await;
    consul.restart().await.unwrap();
    observer
        .until("it answers again", |seen| {
            has_all(seen) && seen.error("consul").is_none() && seen.error("consul-kv").is_none()
        })
        .await;
    consul.client().unwrap().register_service(&a_service("new", "new-1")).await.unwrap();
    observer.until("a new service arrives", |seen| seen.ids("new") == ["new-1"]).await;
    assert!(has_all(&observer.seen));
    observer.stop().await;
}

#[tokio::test]
async fn a_token_that_loses_its_rights_takes_nothing_away() {
    let Some(consul) = ConsulProcess::start(acl()).await else { return };
    fill(&consul).await;
    set_policy(&consul, "").await;
    create_token(&consul).await;
    let mut config = impatient(consul.url());
    config.token = Token::Value(Secret::new(TOKEN.to_owned()));
    let mut observer = Observer::start(config, attentive());
    let is_blind = |seen: &Seen| {
        seen.error("consul").is_some_and(|error| error.contains("cannot see the catalogue"))
    };
    observer.until("the missing rights show", is_blind).await;
    let silent = |seen: &Seen| seen.services.is_empty() && seen.documents.is_none();
    observer.hold_true(Duration::from_millis(700), "no event", silent).await;

    set_policy(&consul, READ_ALL).await;
    observer.until("all is there", has_all).await;
    observer.until("it is told", |seen| seen.error("consul").is_none()).await;

    for rules in ["", READ_SERVICES] {
        set_policy(&consul, rules).await;
        observer.until("the loss shows", is_blind).await;
        observer.until("services are held", |seen| seen.held.contains_key("service web")).await;
        observer.hold_true(Duration::from_secs(2), "nothing shrinks", has_all).await;
        set_policy(&consul, READ_ALL).await;
        observer.until("all is released", |seen| seen.held.is_empty() && !is_blind(seen)).await;
        assert!(has_all(&observer.seen));
    }

    set_policy(&consul, READ_CATALOGUE).await;
    observer.until("documents are held", |seen| seen.held.contains_key("documents")).await;
    observer.hold_true(Duration::from_secs(2), "nothing shrinks", has_all).await;
    set_policy(&consul, READ_ALL).await;
    observer.until("they are released", |seen| seen.held.is_empty()).await;

    consul.client().unwrap().deregister_service("db-1").await.unwrap();
    observer.until("a real loss is applied", |seen| seen.ids("db").is_empty()).await;
    observer.stop().await;
}

#[tokio::test]
async fn a_restored_snapshot_is_noticed_long_before_the_blocking_queries_end() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    register_elsewhere(&consul, "host-9", "web", "web-1", 80).await;
    let snapshot = consul.call("GET", "snapshot", "").await.unwrap();
    for (id, port) in [("web-2", 81), ("web-3", 82), ("web-4", 83)] {
        register_elsewhere(&consul, "host-9", "web", id, port).await;
    }
    let mut observer = Observer::start(ConsulConfig::new(consul.url()), attentive());
    observer.until("four instances", |seen| seen.instances("web").len() == 4).await;
    let at_rest = |_: &Seen| true;
    observer.hold_true(Duration::from_millis(800), "the probe has seen the index", at_rest).await;
    let restored = Instant::now();
    consul.call("PUT", "snapshot", snapshot).await.unwrap();
    observer.until("one instance", |seen| seen.ids("web") == ["web-1"]).await;
    assert!(restored.elapsed() < Duration::from_secs(10), "took {:?}", restored.elapsed());
    observer.stop().await;
}

#[tokio::test]
async fn a_restored_snapshot_that_differs_in_a_document_alone_is_noticed() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    client.put_key("mesh/systems/trading", "old", None).await.unwrap();
    let snapshot = consul.call("GET", "snapshot", "").await.unwrap();
    client.put_key("mesh/systems/trading", "new", None).await.unwrap();
    let mut observer = Observer::start(ConsulConfig::new(consul.url()), attentive());
    let is = |seen: &Seen, text: &str| {
        seen.documents.as_ref().is_some_and(|documents| documents["trading"] == text)
    };
    observer.until("the new text", |seen| is(seen, "new")).await;
    let at_rest = |_: &Seen| true;
    observer.hold_true(Duration::from_millis(800), "the probe has seen the index", at_rest).await;
    let restored = Instant::now();
    consul.call("PUT", "snapshot", snapshot).await.unwrap();
    observer.until("the old text", |seen| is(seen, "old")).await;
    assert!(restored.elapsed() < Duration::from_secs(10), "took {:?}", restored.elapsed());
    observer.stop().await;
}

fn acl() -> ConsulOptions {
    ConsulOptions { has_acl: true, ..ConsulOptions::default() }
}

/// Creates or replaces the policy of the registry's token.
async fn set_policy(consul: &ConsulProcess, rules: &str) {
    let policies = consul.call("GET", "acl/policies", "").await.unwrap();
    let policies: Vec<serde_json::Value> = serde_json::from_slice(&policies).unwrap();
    let existing = policies.iter().find(|policy| policy["Name"] == "mesh");
    let path = match existing {
        Some(policy) => format!("acl/policy/{}", policy["ID"].as_str().unwrap()),
        None => "acl/policy".to_owned(),
    };
    let body = serde_json::json!({"Name": "mesh", "Rules": rules});
    consul.call("PUT", &path, body.to_string()).await.unwrap();
}

async fn create_token(consul: &ConsulProcess) {
    let body = serde_json::json!({"SecretID": TOKEN, "Policies": [{"Name": "mesh"}]});
    consul.call("PUT", "acl/token", body.to_string()).await.unwrap();
}
