//! A service that floods, beside one that does not, while the back end is away.

use base64::Engine;
use http::StatusCode;
use lab::collector::Collector;
use lab::http::Answer;
use lab::wait;
use prost::Message;

use super::agent::{Agent, SOON, arrived, builder, request};

const QUEUE: &str = "[traces.queue]\ndisk_bytes = 4000000\nmemory_bytes = 500000\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_told_to_wait_and_a_quiet_service_loses_nothing() {
    let mut collector = Collector::start().await.unwrap();
    let agent = Agent::start(&format!("grpc://{}", collector.address()), QUEUE).await;
    collector.down().await;
    let mut accepted = Vec::new();
    let mut refused = None;
    for n in 0..10_000u64 {
        let ids: Vec<u64> = (n * 200..(n + 1) * 200).map(|id| id + 1).collect();
        let response = agent.send("alloc-orders", &ids).await.unwrap();
        match response.status() {
            StatusCode::OK => accepted.extend(ids),
            StatusCode::TOO_MANY_REQUESTS => {
                refused = Some(response);
                break;
            }
            other => panic!("{other}"),
        }
    }
    let refused = refused.expect("the queue never said that it is full");
    assert_eq!(refused.headers()["retry-after"], "5");
    // By gRPC the same is RESOURCE_EXHAUSTED with a RetryInfo, without which OTLP's senders would give up.
    let answer = grpc(&agent, "alloc-orders", &(1..200).collect::<Vec<_>>()).await;
    assert_eq!(answer.grpc_status().unwrap().0, 8);
    let details = answer.headers["grpc-status-details-bin"].to_str().unwrap();
    let details = base64::engine::general_purpose::STANDARD_NO_PAD.decode(details).unwrap();
    assert!(details.windows(9).any(|window| window == b"RetryInfo"));

    let quiet: Vec<u64> = (9_000_000..9_000_300).collect();
    for id in &quiet {
        let response = agent.send("alloc-quotes", &[*id]).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "the quiet service was refused");
    }
    let page = agent.http.get(format!("http://127.0.0.1:{}/traces.json", agent.admin)).send().await;
    let page: serde_json::Value = page.unwrap().json().await.unwrap();
    let memory = page["back_ends"][0]["memory_bytes"].as_u64().unwrap();
    assert!(memory <= 500_000, "{page}");

    collector.up().await.unwrap();
    // The quiet one does not wait behind the flood: it is there before half of the flood is.
    wait::until("the quiet service's spans arrive", SOON, async || {
        let times = collector.times();
        let missing = quiet.iter().filter(|id| !times.contains_key(id)).count();
        if missing == 0 { Ok(()) } else { Err(format!("{missing} are missing")) }
    })
    .await
    .unwrap();
    let spans = collector.spans();
    let last_quiet = spans.iter().rposition(|span| span.span >= 9_000_000).unwrap();
    assert!(last_quiet < accepted.len() / 2, "{last_quiet} of {}", accepted.len());
    arrived(&collector, accepted).await;
    let refused = agent.metric("mesh_traces_refused_requests_total").await;
    assert_eq!(
        refused.get(r#"{sender="trading/orders",reason="queue_full"}"#),
        Some(&2.0),
        "{refused:?}"
    );
    assert_eq!(refused.len(), 1);
}

async fn grpc(agent: &Agent, instance: &str, ids: &[u64]) -> Answer {
    let message = request(ids, "work").encode_to_vec();
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&message);
    let http = builder().http2_prior_knowledge().build().unwrap();
    let response = http
        .post(agent.url("/opentelemetry.proto.collector.trace.v1.TraceService/Export"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-mesh-instance", instance)
        .body(body)
        .send()
        .await
        .unwrap();
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap(),
        trailers: http::HeaderMap::new(),
    }
}
