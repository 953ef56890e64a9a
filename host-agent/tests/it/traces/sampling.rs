//! Tail sampling in a running agent: which traces its back end gets, and that what it does not get is counted.

use std::collections::BTreeSet;
use std::time::Duration;

use lab::collector::Collector;
use lab::wait;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::agent::{Agent, SOON, arrived, request};

/// OTLP's `STATUS_CODE_ERROR`
const ERROR: i32 = 2;

async fn agent(collector: &Collector, tail: &str) -> Agent {
    let more = format!("[traces.tail]\n{tail}");
    Agent::start(&format!("grpc://{}", collector.address()), &more).await
}

/// Sends a span of a trace in a request of its own, as the sidecar of `instance` would.
async fn send(
    agent: &Agent,
    instance: &str,
    (trace, id): (u64, u64),
    change: impl FnOnce(&mut Span),
) {
    let mut request = request(&[id], "work");
    let span = &mut request.resource_spans[0].scope_spans[0].spans[0];
    span.trace_id = u128::from(trace).to_be_bytes().to_vec();
    change(span);
    let answer = agent.send_request(instance, &request).await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
}

fn failed(span: &mut Span) {
    span.status = Some(Status { code: ERROR, ..Status::default() });
}

/// Waits until so many spans of a sender were left out.
async fn left_out(agent: &Agent, sender: &str, spans: f64) {
    let labels = format!("{{sender=\"{sender}\"}}");
    wait::until("spans are left out", SOON * 2, async || {
        let counts = agent.metric("mesh_traces_sampled_out_spans_total").await;
        if counts.get(&labels) == Some(&spans) { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await
    .unwrap();
}

/// The spans that the back end has, when all of these are there.
async fn kept(collector: &Collector, ids: &[u64]) -> BTreeSet<u64> {
    arrived(collector, ids.iter().copied()).await;
    collector.times().into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_kept_whole_when_a_span_of_it_failed_or_was_slow_and_otherwise_left_out() {
    let collector = Collector::start().await.unwrap();
    let agent = agent(&collector, "wait_s = 5\nslow_ms = 500\npercent = 0.0\n").await;
    // What happens to a trace later, and in another service of the host, decides about what came before.
    send(&agent, "alloc-orders", (1, 11), |_| {}).await;
    send(&agent, "alloc-orders", (2, 21), |_| {}).await;
    send(&agent, "alloc-orders", (3, 31), |_| {}).await;
    send(&agent, "alloc-quotes", (3, 32), |_| {}).await;
    send(&agent, "alloc-quotes", (1, 12), failed).await;
    let slow = |span: &mut Span| span.start_time_unix_nano = span.end_time_unix_nano - 500_000_000;
    send(&agent, "alloc-quotes", (2, 22), slow).await;
    left_out(&agent, "trading/orders", 1.0).await;
    left_out(&agent, "trading/quotes", 1.0).await;
    assert_eq!(kept(&collector, &[11, 12, 21, 22]).await, BTreeSet::from([11, 12, 21, 22]));
    let lost = agent.metric("mesh_traces_lost_spans_total").await;
    assert!(lost.is_empty(), "what is left out by rule is not lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_and_slowness_count_for_nothing_where_they_are_not_asked_for() {
    let collector = Collector::start().await.unwrap();
    let agent = agent(&collector, "wait_s = 1\nerrors = false\npercent = 0.0\n").await;
    send(&agent, "alloc-orders", (1, 11), failed).await;
    let slow = |span: &mut Span| span.start_time_unix_nano -= 60_000_000_000;
    send(&agent, "alloc-orders", (2, 21), slow).await;
    left_out(&agent, "trading/orders", 2.0).await;
    assert_eq!(collector.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_has_its_own_share_and_all_others_the_common_one() {
    let collector = Collector::start().await.unwrap();
    let tail = "wait_s = 1\npercent = 0.0\nsystems = { trading = 100.0 }\n";
    let agent = agent(&collector, tail).await;
    send(&agent, "alloc-orders", (1, 11), |_| {}).await;
    send(&agent, "nobody", (2, 21), |_| {}).await;
    left_out(&agent, "unknown", 1.0).await;
    assert_eq!(kept(&collector, &[11]).await, BTreeSet::from([11]));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_share_s_traces_no_more_than_the_rate_pass_but_failed_ones_all() {
    let collector = Collector::start().await.unwrap();
    let agent = agent(&collector, "wait_s = 1\npercent = 100.0\nspans_per_s = 2\n").await;
    // One request is judged at one moment.
    let ids: Vec<u64> = (1..=20).collect();
    let mut all = request(&ids, "work");
    for span in &mut all.resource_spans[0].scope_spans[0].spans[17..] {
        failed(span);
    }
    let answer = agent.send_request("alloc-orders", &all).await.unwrap();
    assert!(answer.status().is_success());
    left_out(&agent, "trading/orders", 15.0).await;
    assert_eq!(kept(&collector, &[1, 2, 18, 19, 20]).await, BTreeSet::from([1, 2, 18, 19, 20]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_through_a_kill_is_judged_by_all_that_had_come() {
    let collector = Collector::start().await.unwrap();
    let mut agent = agent(&collector, "wait_s = 5\npercent = 0.0\n").await;
    send(&agent, "alloc-orders", (1, 11), |_| {}).await;
    send(&agent, "alloc-quotes", (1, 12), failed).await;
    send(&agent, "alloc-orders", (2, 21), |_| {}).await;
    agent.kill().await;
    assert_eq!(collector.requests(), 0, "nothing is passed on before its time");
    agent.restart().await;
    left_out(&agent, "trading/orders", 1.0).await;
    assert_eq!(kept(&collector, &[11, 12]).await, BTreeSet::from([11, 12]));
    let held = Duration::from_secs(1);
    wait::holds("what was left out does not come", held, async || {
        if collector.times().contains_key(&21) { Err("it came") } else { Ok(()) }
    })
    .await
    .unwrap();
}
