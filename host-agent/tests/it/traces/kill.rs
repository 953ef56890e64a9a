//! kill -9 under load: what was acknowledged arrives, repeats are few.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::StatusCode;
use lab::collector::Collector;
use prost::Message;
use tokio::task::JoinSet;

use super::agent::{Agent, arrived, http, request};

/// Spans of a request.
const BATCH: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_under_load() {
    let mut collector = Collector::start().await.unwrap();
    let mut agent = Agent::with(&collector).await;
    let next = Arc::new(AtomicU64::new(1));
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for _ in 0..4 {
        senders.spawn(load(agent.url("/v1/traces"), Arc::clone(&next), Arc::clone(&stop)));
    }
    for round in 1..=3u64 {
        // With the back end here, away, and here again.
        if round == 2 {
            collector.down().await;
        }
        let goal = next.load(Ordering::Relaxed) + 4000;
        lab::wait::until("the load runs", super::agent::SOON, async || {
            let sent = next.load(Ordering::Relaxed);
            if sent > goal { Ok(()) } else { Err(format!("{sent} of {goal}")) }
        })
        .await
        .unwrap();
        agent.kill().await;
        agent.restart().await;
        if round == 2 {
            collector.up().await.unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<u64> = senders.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > 8000, "{}", acknowledged.len());
    arrived(&collector, acknowledged.iter().copied()).await;
    let repeats: u32 = collector.times().values().map(|times| times - 1).sum();
    println!("{} acknowledged over 3 kills, {repeats} came more than once", acknowledged.len());
    // At most what was under way at each kill: four batches of 8192 at the very most.
    assert!(repeats < 3 * 4 * 8192, "{repeats}");
    agent.stop().await;
}

/// Sends until it is told to stop; returns the ids that were acknowledged.
async fn load(url: String, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> Vec<u64> {
    let http = http();
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let first = next.fetch_add(BATCH, Ordering::Relaxed);
        let ids: Vec<u64> = (first..first + BATCH).collect();
        let sent = http
            .post(&url)
            .header("content-type", "application/x-protobuf")
            .header("x-mesh-instance", "alloc-orders")
            .body(request(&ids, "work").encode_to_vec())
            .send()
            .await;
        match sent {
            Ok(response) if response.status() == StatusCode::OK => acknowledged.extend(ids),
            // The agent is away; an application's SDK would try again, and the ids of a new attempt are as good.
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
    acknowledged
}
