//! Ordinary life: what changes in Consul arrives, and nothing else does.

use ::consul::TtlStatus;
use ::consul::testing::ConsulOptions;

use super::*;
use crate::registry::CheckStatus;

#[tokio::test]
async fn registrations_health_meta_and_deregistrations_arrive() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    let mut observer = Observer::start(ConsulConfig::new(consul.url()), attentive());
    observer.until("Consul answers", |seen| seen.documents.is_some()).await;
    assert_eq!(observer.seen.error("consul"), None);

    let mut web = a_service("web", "web-1");
    client.register_service(&web).await.unwrap();
    observer
        .until("web-1 passes", |seen| {
            let instances = seen.instances("web");
            instances.iter().any(|instance| instance.status == CheckStatus::Passing)
        })
        .await;
    assert!(observer.seen.listing.contains("web"));
    assert!(!observer.seen.listing.contains("consul"));
    let instance = observer.seen.instances("web")[0].clone();
    assert_eq!((instance.address.as_str(), instance.port), ("10.1.2.3", 8080));
    assert_eq!(instance.node, "host-1");

    client.update_ttl("ttl-web-1", TtlStatus::Critical, "no").await.unwrap();
    observer
        .until("web-1 is critical", |seen| seen.instances("web")[0].status == CheckStatus::Critical)
        .await;

    web.meta.insert("mesh_track".to_owned(), "canary".to_owned());
    client.register_service(&web).await.unwrap();
    observer
        .until("its meta changes", |seen| seen.instances("web")[0].meta.contains_key("mesh_track"))
        .await;

    client.register_service(&a_service("web", "web-2")).await.unwrap();
    observer.until("web-2 comes", |seen| seen.ids("web") == ["web-1", "web-2"]).await;
    client.deregister_service("web-1").await.unwrap();
    observer.until("web-1 leaves", |seen| seen.ids("web") == ["web-2"]).await;

    let left = Instant::now();
    client.deregister_service("web-2").await.unwrap();
    observer
        .until("web leaves the listing", |seen| {
            seen.ids("web").is_empty() && !seen.listing.contains("web")
        })
        .await;
    assert!(left.elapsed() < Duration::from_millis(500), "took {:?}", left.elapsed());
    assert!(observer.seen.held.is_empty());
    observer.stop().await;
}

#[tokio::test]
async fn a_change_arrives_within_milliseconds_and_a_checks_output_never() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    let mut observer = Observer::start(ConsulConfig::new(consul.url()), attentive());
    client.register_service(&a_service("web", "web-1")).await.unwrap();
    observer
        .until("web-1 passes", |seen| {
            seen.instances("web").iter().any(|instance| instance.status == CheckStatus::Passing)
        })
        .await;

    let mut latencies = Vec::new();
    for round in 0..20 {
        let (report, status) = match round % 2 {
            0 => (TtlStatus::Warning, CheckStatus::Warning),
            _ => (TtlStatus::Passing, CheckStatus::Passing),
        };
        let started = Instant::now();
        client.update_ttl("ttl-web-1", report, "as ordered").await.unwrap();
        observer.until("the state arrives", |seen| seen.instances("web")[0].status == status).await;
        latencies.push(started.elapsed());
        // The pace of real life, not of a loop: a watch that is idle has its burst.
        observer.hold_true(Duration::from_millis(110), "quiet", |_| true).await;
    }
    latencies.sort_unstable();
    println!(
        "report → event, with the report's own request: p50 {:?}, max {:?}",
        latencies[10], latencies[19]
    );
    assert!(latencies[10] < Duration::from_millis(50), "{latencies:?}");

    let before = observer.seen.service_events;
    for text in ["one", "two", "three"] {
        client.update_ttl("ttl-web-1", TtlStatus::Passing, text).await.unwrap();
    }
    let quiet = |seen: &Seen| seen.service_events == before;
    observer.hold_true(Duration::from_millis(600), "no event of an output", quiet).await;
    observer.stop().await;
}

#[tokio::test]
async fn documents_arrive_change_and_leave() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    let client = consul.client().unwrap();
    client.put_key("mesh/systems/trading/versions/1", "older", None).await.unwrap();
    client.put_key("mesh/systems/trading", "name: trading", None).await.unwrap();
    let mut observer = Observer::start(ConsulConfig::new(consul.url()), attentive());
    let text = |seen: &Seen, name: &str| seen.documents.as_ref()?.get(name).cloned();
    let is = |text: Option<String>, expected: &str| text.as_deref() == Some(expected);
    observer.until("a document", |seen| is(text(seen, "trading"), "name: trading")).await;
    assert_eq!(observer.seen.documents.as_ref().unwrap().len(), 1);
    client.put_key("mesh/systems/portfolio", "two", None).await.unwrap();
    observer.until("a second", |seen| is(text(seen, "portfolio"), "two")).await;
    client.put_key("mesh/systems/portfolio", "new", None).await.unwrap();
    observer.until("a change", |seen| is(text(seen, "portfolio"), "new")).await;
    client.delete_key("mesh/systems/portfolio", None).await.unwrap();
    observer.until("one leaves", |seen| text(seen, "portfolio").is_none()).await;
    assert!(observer.seen.ever_held.is_empty());
    client.delete_key("mesh/systems/trading", None).await.unwrap();
    observer.until("the last leaves", |seen| text(seen, "trading").is_none()).await;
    assert!(observer.seen.ever_held.contains("documents"), "it was confirmed");
    observer.until("it is released", |seen| seen.held.is_empty()).await;
    observer.stop().await;
}
