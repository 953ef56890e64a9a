//! Many services over plain HTTP: few connections, and changes still arrive.

use ::consul::testing::ConsulOptions;

use super::*;

async fn register(consul: &ConsulProcess, range: std::ops::Range<usize>) {
    for nth in range {
        let (name, id) = (format!("s{nth}"), format!("s{nth}-1"));
        register_elsewhere(consul, &format!("other-{}", nth % 3), &name, &id, 80).await;
    }
}

fn is_complete(seen: &Seen, services: usize) -> bool {
    seen.listing.len() == services
        && seen.services.values().filter(|instances| !instances.is_empty()).count() == services
}

#[tokio::test]
async fn services_beyond_the_limit_are_swept_over_few_connections() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    register(&consul, 0..150).await;
    let started = Instant::now();
    let mut observer = Observer::start(ConsulConfig::new(consul.url()), attentive());
    observer.until("150 services", |seen| is_complete(seen, 150)).await;
    println!("150 services read in {:?}", started.elapsed());
    let connections = consul.connections().unwrap();
    println!("{connections} connections");
    assert!(connections < 100, "{connections}");

    // The same name and tags, no check: nothing but the node's registrations shows it.
    let changed = Instant::now();
    register_elsewhere(&consul, "other-0", "s7", "s7-2", 81).await;
    observer.until("a second instance", |seen| seen.ids("s7") == ["s7-2", "s7-1"]).await;
    println!("a second instance after {:?}", changed.elapsed());
    register_elsewhere(&consul, "other-1", "s7", "s7-1", 90).await;
    observer
        .until("a port changes", |seen| {
            seen.instances("s7").iter().any(|instance| instance.port == 90)
        })
        .await;

    let check = serde_json::json!({
        "Node": "other-2", "Address": "10.9.9.9",
        "Check": {"Node": "other-2", "CheckID": "alive", "Name": "alive", "Status": "critical"},
    });
    consul.call("PUT", "catalog/register", check.to_string()).await.unwrap();
    let is_critical = |seen: &Seen, name: &str| {
        seen.instances(name)
            .iter()
            .all(|instance| instance.status == crate::registry::CheckStatus::Critical)
    };
    observer
        .until("a node's check concerns all on it", |seen| {
            is_critical(seen, "s2") && is_critical(seen, "s149")
        })
        .await;
    assert!(!is_critical(&observer.seen, "s3"));

    deregister_elsewhere(&consul, "other-0", "s9-1").await;
    observer
        .until("a service leaves", |seen| seen.ids("s9").is_empty() && !seen.listing.contains("s9"))
        .await;
    assert!(consul.connections().unwrap() < 100);
    observer.stop().await;
}

#[tokio::test]
async fn the_strategy_changes_as_the_catalogue_grows_and_shrinks() {
    let Some(consul) = ConsulProcess::start(ConsulOptions::default()).await else { return };
    register(&consul, 0..10).await;
    let config = ConsulRegistryConfig { watched_services_plain: 12, ..attentive() };
    let mut observer = Observer::start(ConsulConfig::new(consul.url()), config);
    observer.until("10 services, watched", |seen| is_complete(seen, 10)).await;
    register(&consul, 10..20).await;
    observer.until("20 services, swept", |seen| is_complete(seen, 20)).await;
    register_elsewhere(&consul, "other-0", "s3", "s3-2", 81).await;
    observer.until("a change while swept", |seen| seen.instances("s3").len() == 2).await;
    for nth in 5..20 {
        deregister_elsewhere(&consul, &format!("other-{}", nth % 3), &format!("s{nth}-1")).await;
    }
    observer.until("5 services, watched again", |seen| seen.listing.len() == 5).await;
    register_elsewhere(&consul, "other-0", "s3", "s3-3", 82).await;
    observer.until("a change while watched", |seen| seen.instances("s3").len() == 3).await;
    observer.stop().await;
}
