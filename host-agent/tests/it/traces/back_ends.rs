//! What back ends do to an agent, and what then becomes of spans.

use std::time::Duration;

use http::StatusCode;
use lab::collector::{Collector, Mode};
use lab::wait;
use prost::Message;

use super::agent::{Agent, SOON, arrived, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_goes_away_under_load_costs_no_span() {
    let mut collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    let mut next = 1;
    let mut step = async |requests: u64| {
        for _ in 0..requests {
            let ids: Vec<u64> = (next..next + 100).collect();
            next += 100;
            let response = agent.send("alloc-orders", &ids).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
    };
    step(10).await;
    collector.down().await;
    step(20).await;
    collector.up().await.unwrap();
    step(10).await;
    arrived(&collector, 1..=4000).await;
    let lost = agent.metric("mesh_traces_lost_spans_total").await;
    assert!(lost.is_empty(), "{lost:?}");
    let span = collector.spans().into_iter().next().unwrap();
    for (key, value) in [
        ("service.name", "orders"),
        ("service.namespace", "trading"),
        ("service.instance.id", "alloc-orders"),
        ("mesh.allocation", "alloc-orders"),
        ("host.name", "host-a"),
        ("mesh.datacenter", "dc1"),
    ] {
        assert_eq!(span.resource.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_is_overloaded_is_asked_again_only_when_it_says_so() {
    let collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    collector.answer(Mode::Refuse { code: 8, retry: Some(5) });
    agent.send("alloc-orders", &[1]).await.unwrap();
    wait::until("it was asked", SOON, async || {
        if collector.requests() == 1 { Ok(()) } else { Err(collector.requests()) }
    })
    .await
    .unwrap();
    collector.answer(Mode::Take);
    wait::holds("it is left alone", Duration::from_secs(2), async || {
        if collector.requests() == 1 { Ok(()) } else { Err(collector.requests()) }
    })
    .await
    .unwrap();
    arrived(&collector, [1]).await;

    collector.answer(Mode::Refuse { code: 8, retry: None });
    agent.send("alloc-orders", &[2]).await.unwrap();
    wait::until("the loss is counted", SOON, async || {
        let lost = agent.metric("mesh_traces_lost_spans_total").await;
        match lost.get(r#"{back_end="store",sender="trading/orders",reason="resource_exhausted"}"#)
        {
            Some(1.0) => Ok(()),
            _ => Err(format!("{lost:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_success_is_never_sent_again() {
    let collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    collector.answer(Mode::Partial(2));
    agent.send("alloc-orders", &[1, 2, 3]).await.unwrap();
    arrived(&collector, [1, 2, 3]).await;
    wait::until("what was rejected is counted", SOON, async || {
        let lost = agent.metric("mesh_traces_lost_spans_total").await;
        match lost.get(r#"{back_end="store",sender="trading/orders",reason="partial_success"}"#) {
            Some(2.0) => Ok(()),
            _ => Err(format!("{lost:?}")),
        }
    })
    .await
    .unwrap();
    wait::holds("it is sent once", Duration::from_secs(1), async || {
        if collector.requests() == 1 { Ok(()) } else { Err(collector.requests()) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_back_end_refuses_takes_no_other_with_it() {
    let mut collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    // All of it is in one batch, because the back end was away.
    collector.down().await;
    collector.answer(Mode::RefuseNamed("poison".to_owned()));
    for id in 1..=20 {
        let name = if id == 7 { "poison" } else { "work" };
        let instance = if id == 7 { "alloc-quotes" } else { "alloc-orders" };
        let response = agent
            .http
            .post(agent.url("/v1/traces"))
            .header("content-type", "application/x-protobuf")
            .header("x-mesh-instance", instance)
            .body(request(&[id], name).encode_to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
    collector.up().await.unwrap();
    arrived(&collector, (1..=20).filter(|id| *id != 7)).await;
    wait::until("the culprit is counted", SOON, async || {
        let lost = agent.metric("mesh_traces_lost_spans_total").await;
        match lost.get(r#"{back_end="store",sender="trading/quotes",reason="invalid_argument"}"#) {
            Some(1.0) if lost.len() == 1 => Ok(()),
            _ => Err(format!("{lost:?}")),
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_from_the_disk_for_a_while_is_not_lost() {
    let collector = Collector::start().await.unwrap();
    // Time to put something else in the segment's place before it is read.
    let more = "[traces.tail]\nwait_s = 5\npercent = 100.0\n[traces.queue]\nmemory_bytes = 0\n";
    let agent = Agent::start(&format!("grpc://{}", collector.address()), more).await;
    agent.send("alloc-orders", &[1, 2]).await.unwrap();
    let segment = agent.folder.path().join("queue/store/0000000000000001.seg");
    let aside = segment.with_extension("aside");
    std::fs::rename(&segment, &aside).unwrap();
    std::fs::create_dir(&segment).unwrap();
    wait::until("it was tried", SOON, async || {
        let retries = agent.metric("mesh_traces_retries_total").await;
        match retries.get(r#"{back_end="store",reason="disk"}"#) {
            Some(_) => Ok(()),
            None => Err(format!("{retries:?}")),
        }
    })
    .await
    .unwrap();
    std::fs::remove_dir(&segment).unwrap();
    std::fs::rename(&aside, &segment).unwrap();
    arrived(&collector, [1, 2]).await;
    let lost = agent.metric("mesh_traces_lost_spans_total").await;
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_back_end_that_refuses_who_sends_is_not_asked_about_each_part() {
    let mut collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    collector.down().await;
    for id in 1..=20 {
        agent.send("alloc-orders", &[id]).await.unwrap();
    }
    // Unauthenticated, as with a token that has expired.
    collector.answer(Mode::Refuse { code: 16, retry: None });
    collector.up().await.unwrap();
    wait::until("the loss is counted", SOON, async || {
        let lost = agent.metric("mesh_traces_lost_spans_total").await;
        match lost.get(r#"{back_end="store",sender="trading/orders",reason="unauthenticated"}"#) {
            Some(20.0) => Ok(()),
            _ => Err(format!("{lost:?}")),
        }
    })
    .await
    .unwrap();
    // One for each batch: in halves of a batch of n they would be n - 1 more.
    assert!(collector.requests() < 20, "{}", collector.requests());
}
