//! What senders are answered: the right status in the form of their protocol, whatever they send.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use lab::collector::Collector;
use lab::wait;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::agent::{Agent, SOON, arrived, request};

const PROTO: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn post(
    agent: &Agent,
    path: &str,
    kind: &str,
    encoding: &str,
    body: Vec<u8>,
) -> reqwest::Response {
    let request = agent.http.post(agent.url(path)).header("content-type", kind);
    let request =
        if encoding.is_empty() { request } else { request.header("content-encoding", encoding) };
    request.body(body).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_and_encoding_is_taken_and_arrives() {
    let collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    let proto = |id| request(&[id], "work").encode_to_vec();
    let json = |id| serde_json::to_vec(&request(&[id], "work")).unwrap();
    let zipkin = |id: u64| {
        format!(r#"[{{"traceId":"{id:016x}","id":"{id:016x}","name":"z","timestamp":{},"duration":1}}]"#,
            super::agent::now_ns() / 1000).into_bytes()
    };
    let zstd = zstd::encode_all(&proto(3)[..], 1).unwrap();
    for (path, kind, encoding, body, status) in [
        ("/v1/traces", PROTO, "", proto(1), 200),
        ("/v1/traces", PROTO, "gzip", gzip(&proto(2)), 200),
        ("/v1/traces", PROTO, "zstd", zstd, 200),
        ("/v1/traces", JSON, "", json(4), 200),
        ("/v1/traces", "application/json; charset=utf-8", "gzip", gzip(&json(5)), 200),
        ("/api/v2/spans", JSON, "", zipkin(6), 202),
        ("/api/v2/spans", JSON, "gzip", gzip(&zipkin(7)), 202),
    ] {
        let response = post(&agent, path, kind, encoding, body).await;
        assert_eq!(response.status().as_u16(), status, "{path} {kind} {encoding}");
    }
    arrived(&collector, 1..=7).await;
    let received = agent.metric("mesh_traces_received_spans_total").await;
    assert!((received.values().sum::<f64>() - 7.0).abs() < 0.5, "{received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_taken_is_refused_with_its_status_and_counted() {
    let collector = Collector::start().await.unwrap();
    let agent = Agent::start(
        &format!("grpc://{}", collector.address()),
        "max_request_bytes = 100000\nmax_message_bytes = 1000000",
    )
    .await;
    let bomb = gzip(&vec![0; 50_000_000]);
    let cases: [(&str, &str, &str, Vec<u8>, u16); 9] = [
        ("/v1/traces", PROTO, "", b"garbage".to_vec(), 400),
        ("/v1/traces", JSON, "", b"{\"resourceSpans\":[".to_vec(), 400),
        ("/v1/traces", "text/plain", "", Vec::new(), 415),
        ("/v1/traces", PROTO, "br", Vec::new(), 415),
        ("/v1/traces", PROTO, "gzip", b"no gzip".to_vec(), 400),
        ("/v1/traces", PROTO, "gzip", bomb, 413),
        ("/v1/traces", PROTO, "", vec![0; 100_001], 413),
        ("/api/v2/spans", JSON, "", b"{}".to_vec(), 400),
        ("/elsewhere", JSON, "", Vec::new(), 404),
    ];
    for (path, kind, encoding, body, status) in cases {
        let response = post(&agent, path, kind, encoding, body).await;
        assert_eq!(response.status().as_u16(), status, "{path} {kind} {encoding}");
        let answered = response.headers()["content-type"].to_str().unwrap();
        let expected = match path {
            "/v1/traces" if kind == PROTO => PROTO,
            "/v1/traces" => JSON,
            _ => "text/plain; charset=utf-8",
        };
        assert_eq!(answered, expected, "{path} {kind} {encoding}");
    }
    let refused = agent.metric("mesh_traces_refused_requests_total").await;
    assert_eq!(refused.get(r#"{sender="unknown",reason="too_large"}"#), Some(&2.0), "{refused:?}");
    assert_eq!(refused.get(r#"{sender="unknown",reason="malformed"}"#), Some(&4.0), "{refused:?}");
    assert_eq!(collector.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_bad_is_a_partial_success() {
    let collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    let mut mixed: ExportTraceServiceRequest = request(&[11, 12, 13], "work");
    mixed.resource_spans[0].scope_spans[0].spans[1].trace_id = vec![1; 8];
    let response = post(&agent, "/v1/traces", PROTO, "", mixed.encode_to_vec()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let answer = ExportTraceServiceResponse::decode(response.bytes().await.unwrap()).unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert_eq!(partial.error_message, "spans were rejected: trace_id: 1");

    let response = post(&agent, "/v1/traces", JSON, "", serde_json::to_vec(&mixed).unwrap()).await;
    let answer: serde_json::Value = response.json().await.unwrap();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "1");
    arrived(&collector, [11, 13]).await;
    let rejected = agent.metric("mesh_traces_rejected_spans_total").await;
    assert_eq!(rejected.get(r#"{sender="unknown",reason="trace_id"}"#), Some(&2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_in_json_that_is_none_takes_no_other_with_it() {
    let collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    let now = super::agent::now_ns();
    let span = |id: u64, more: &str| {
        format!(
            r#"{{"traceId": "{id:032x}", "spanId": "{id:016x}", "startTimeUnixNano": "{now}", "endTimeUnixNano": {now}{more}}}"#
        )
    };
    let spans = [
        span(31, r#", "attributes": [{"key": "none", "value": {"arrayValue": {}}}]"#),
        span(32, r#", "name": 7"#),
        span(33, "").replace("\"traceId\": \"00", "\"traceId\": \"0x"),
        span(34, r#", "kind": "SPAN_KIND_SERVER""#),
        span(35, r#", "parentSpanId": null, "later": {"a": [1]}"#),
    ];
    let body = format!(
        r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{}]}}]}}]}}"#,
        spans.join(", ")
    );
    let response = post(&agent, "/v1/traces", JSON, "", body.into_bytes()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.json::<serde_json::Value>().await.unwrap(),
        serde_json::json!({"partialSuccess": {
            "rejectedSpans": "3", "errorMessage": "spans were rejected: trace_id: 1, malformed: 2",
        }})
    );
    arrived(&collector, [31, 35]).await;
    assert_eq!(collector.times().len(), 2);
    let rejected = agent.metric("mesh_traces_rejected_spans_total").await;
    for (reason, spans) in [("trace_id", 1.0), ("malformed", 2.0)] {
        let labels = format!("{{sender=\"unknown\",reason=\"{reason}\"}}");
        assert_eq!(rejected.get(&labels), Some(&spans), "{rejected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dawdles_is_cut_off_and_others_are_served_meanwhile() {
    let collector = Collector::start().await.unwrap();
    let agent = Agent::start(&format!("grpc://{}", collector.address()), "request_s = 1").await;
    let mut slow = TcpStream::connect(("127.0.0.1", agent.listen)).await.unwrap();
    slow.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-protobuf\r\ncontent-length: 100\r\n\r\nabc")
        .await
        .unwrap();
    let response = agent.send("alloc-orders", &[21]).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut answer = vec![0; 100];
    let read = tokio::time::timeout(SOON, slow.read(&mut answer)).await.unwrap().unwrap();
    assert!(
        answer[..read].starts_with(b"HTTP/1.1 408"),
        "{:?}",
        String::from_utf8_lossy(&answer[..read])
    );
    wait::until("it is counted", SOON, async || {
        let refused = agent.metric("mesh_traces_refused_requests_total").await;
        match refused.get(r#"{sender="unknown",reason="slow"}"#) {
            Some(1.0) => Ok(()),
            _ => Err(format!("{refused:?}")),
        }
    })
    .await
    .unwrap();
}
