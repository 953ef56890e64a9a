//! A server that starts answers while it replays its log: nothing of the past is published, and what is new at once.

use ::consul::testing::{Call, ConsulOptions, Reply, ScriptedConsul};

use super::confirmation::{SERVERS, WEB, a_consul_with_web, is_consistent};
use super::*;

const DOCUMENTS: &str = "/v1/kv/mesh/systems/";

/// How often Consul is killed and started again.
const RESTARTS: u32 = 12;
/// Changes of the document before each of that.
const CHANGES: u32 = 40;

#[tokio::test]
async fn instances_of_the_past_are_never_published_and_new_ones_at_once() {
    let instance = |id: &str| WEB.replace("web-1", id);
    let consul = a_consul_with_web(move |call, nth| match (is_consistent(call), nth) {
        (false, 0) | (true, 2) => Reply::json(11, WEB),
        (false, 1) => Reply::json(5, &instance("web-0")),
        (false, 3) => Reply::status(500, "No cluster leader"),
        (false, 4) => Reply::json(12, &instance("web-2")),
        (true, 5) => Reply::json(14, &instance("web-3")),
        _ => Reply::hang(),
    })
    .await;
    let mut observer = Observer::start(impatient(consul.url()), ConsulRegistryConfig::default());
    observer.until("the newest is there", |seen| seen.ids("web") == ["web-3"]).await;
    assert_eq!((observer.seen.service_events, observer.seen.ever_held.len()), (2, 0));
    observer.stop().await;
}

#[tokio::test]
async fn a_service_that_only_the_past_knows_is_never_published() {
    let consul = ScriptedConsul::start(|call, nth| match (call.path.as_str(), nth) {
        ("/v1/catalog/services", _) if is_consistent(call) => Reply::json(10, r#"{"consul": []}"#),
        // The first call is the probe's.
        ("/v1/catalog/services", 1) => Reply::json(10, r#"{"consul": []}"#),
        ("/v1/catalog/services", 2) => Reply::status(500, "No cluster leader"),
        ("/v1/catalog/services", 3) => Reply::json(5, r#"{"consul": [], "web": []}"#),
        ("/v1/health/service/web", _) if is_consistent(call) => Reply::json(10, "[]"),
        ("/v1/health/service/web", 0) => Reply::json(5, WEB),
        ("/v1/health/service/consul", _) => Reply::json(10, SERVERS),
        (DOCUMENTS, _) if call.index().is_none() => {
            Reply::status(404, "").with_header("X-Consul-Index", "10")
        }
        _ => Reply::hang(),
    })
    .await
    .unwrap();
    let mut observer = Observer::start(impatient(consul.url()), at_rest());
    observer.until("web is known", |seen| seen.services.contains_key("web")).await;
    assert_eq!((observer.seen.ids("web"), observer.seen.service_events), (vec![], 1));
    observer.stop().await;
}

/// A Consul whose answers about documents are scripted; everything else is at rest.
async fn a_consul_with_documents(
    documents: impl Fn(&Call, usize) -> Reply + Send + Sync + 'static,
) -> ScriptedConsul {
    ScriptedConsul::start(move |call, nth| match call.path.as_str() {
        DOCUMENTS => documents(call, nth),
        _ if call.index().is_some() => Reply::hang(),
        "/v1/catalog/services" => Reply::json(10, r#"{"consul": []}"#),
        "/v1/health/service/consul" => Reply::json(10, SERVERS),
        _ => Reply::status(404, "").with_header("X-Consul-Index", "10"),
    })
    .await
    .unwrap()
}

/// One document; its text in base64.
fn trading(index: u64, text: &str) -> Reply {
    let key = format!(
        r#"[{{"Key": "mesh/systems/trading", "Value": "{text}", "ModifyIndex": {index}}}]"#
    );
    Reply::json(index, &key)
}

/// One probe at the start, so that each answer's place is known.
fn at_rest() -> ConsulRegistryConfig {
    ConsulRegistryConfig {
        probe_interval: Duration::from_secs(60),
        ..ConsulRegistryConfig::default()
    }
}

#[tokio::test]
async fn documents_of_the_past_are_never_published_and_new_ones_at_once() {
    const OLD: &str = "b2xk";
    const NEW: &str = "bmV3";
    const BETWEEN: &str = "YmV0d2Vlbg==";
    const NEWEST: &str = "bmV3ZXN0";
    let consul = a_consul_with_documents(|call, nth| match (is_consistent(call), nth) {
        // At the start, then with an index that went back, then with a higher one after a failure.
        (false, 0) | (true, 3) => trading(11, NEW),
        (true, 1) => trading(11, NEW),
        (false, 2) => trading(5, OLD),
        (false, 4) => Reply::status(500, "No cluster leader"),
        (false, 5) => trading(12, BETWEEN),
        (true, 6) => trading(14, NEWEST),
        _ => Reply::hang(),
    })
    .await;
    let mut observer = Observer::start(impatient(consul.url()), at_rest());
    observer
        .until("the newest is there", |seen| {
            seen.documents.as_ref().is_some_and(|texts| texts["trading"] == "newest")
        })
        .await;
    let texts: Vec<&str> =
        observer.seen.document_events.iter().map(|texts| texts["trading"].as_str()).collect();
    assert_eq!((texts, observer.seen.ever_held.len()), (vec!["new", "newest"], 0));
    observer.stop().await;
}

#[tokio::test]
async fn documents_whose_index_went_back_for_good_are_published_after_one_more_read() {
    const NEW: &str = "bmV3";
    const RESTORED: &str = "cmVzdG9yZWQ=";
    const NEXT: &str = "bmV4dA==";
    let consul = a_consul_with_documents(|call, nth| match (is_consistent(call), nth) {
        (_, 0 | 1) => trading(11, NEW),
        (_, 2..=4) => trading(5, RESTORED),
        (_, 5 | 6) => trading(6, NEXT),
        _ => Reply::hang(),
    })
    .await;
    let mut observer = Observer::start(impatient(consul.url()), at_rest());
    observer
        .until("the next is there", |seen| {
            seen.documents.as_ref().is_some_and(|texts| texts["trading"] == "next")
        })
        .await;
    assert_eq!((observer.seen.document_events.len(), observer.seen.ever_held.len()), (3, 0));
    observer.stop().await;
}

#[tokio::test]
async fn a_real_consul_that_is_killed_after_each_change_never_brings_an_older_document_back() {
    let options = ConsulOptions { is_persistent: true, ..ConsulOptions::default() };
    let Some(mut consul) = ConsulProcess::start(options).await else { return };
    let mut config = impatient(consul.url());
    // Asks as early as it can, while the log is replayed.
    config.limits.backoff_min = Duration::from_millis(2);
    config.limits.backoff_max = Duration::from_millis(5);
    consul.client().unwrap().put_key("mesh/systems/trading", "0", None).await.unwrap();
    let mut observer = Observer::start(config, attentive());
    let text_of = |texts: &BTreeMap<String, String>| texts["trading"].parse::<u32>().unwrap();
    let (mut brought, mut past) = (0, Vec::new());
    for restart in 1..=RESTARTS {
        let client = consul.client().unwrap();
        for change in 1..=CHANGES {
            let text = ((restart - 1) * CHANGES + change).to_string();
            client.put_key("mesh/systems/trading", text, None).await.unwrap();
        }
        let last = restart * CHANGES;
        consul.kill().unwrap();
        observer.until("its end shows", |seen| seen.error("consul-kv").is_some()).await;
        let known = observer.seen.document_events.len();
        consul.restart().await.unwrap();
        observer
            .until("the last change is there", |seen| {
                seen.error("consul-kv").is_none()
                    && seen.documents.as_ref().is_some_and(|texts| text_of(texts) == last)
            })
            .await;
        let after: Vec<u32> = observer.seen.document_events[known..].iter().map(text_of).collect();
        brought += after.len();
        past.extend(after.into_iter().filter(|text| *text != last));
    }
    println!(
        "{RESTARTS} restarts brought {brought} changes of documents, {} of the past",
        past.len()
    );
    assert!(brought > 0, "nothing was missed by the control plane: no restart proved anything");
    assert_eq!(past, Vec::<u32>::new(), "older than the last change before a restart");
    observer.stop().await;
}
