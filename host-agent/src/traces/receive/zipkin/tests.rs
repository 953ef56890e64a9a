//! What Zipkin's spans become.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::*;
use crate::traces::wire::{put_bytes, put_number};

const SPAN: &str = r#"[{"traceId":"0123456789abcdef","parentId":"1","id":"00000000000000ab","kind":"SERVER","name":"get",
 "timestamp":1700000000000001,"duration":5,"localEndpoint":{"serviceName":"orders","ipv4":"10.0.0.1","port":80},
 "remoteEndpoint":{"serviceName":"web","ipv6":"::1"},"annotations":[{"timestamp":1700000000000002,"value":"ws"}],
 "tags":{"http.path":"/a","error":"boom"},"shared":true,"unknown":[1]}]"#;

fn decode(converted: &Converted) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(converted.message.as_slice()).unwrap()
}

#[test]
fn a_span_in_json_becomes_an_otlp_span() {
    let converted = from_json(SPAN.as_bytes()).unwrap();
    assert_eq!(converted.malformed, 0);
    let request = serde_json::to_value(decode(&converted)).unwrap();
    let resource = &request["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "orders");
    let span = &resource["scopeSpans"][0]["spans"][0];
    let expected = serde_json::json!({
        "traceId": "00000000000000000123456789abcdef", "spanId": "00000000000000ab", "parentSpanId": "0000000000000001",
        "name": "get", "kind": 2, "startTimeUnixNano": "1700000000000001000", "endTimeUnixNano": "1700000000000006000",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&span[key], value, "{key}");
    }
    assert_eq!(span["status"]["code"], 2);
    assert_eq!(span["status"]["message"], "boom");
    assert_eq!(span["events"][0]["name"], "ws");
    let keys: Vec<_> =
        span["attributes"].as_array().unwrap().iter().map(|one| one["key"].clone()).collect();
    let expected = [
        "error",
        "http.path",
        "network.local.address",
        "network.local.port",
        "peer.service",
        "network.peer.address",
        "zipkin.shared",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_bad_span_costs_only_itself() {
    let body = r#"[{"traceId":"xyz","id":"1","timestamp":1},{"id":7},3,
        {"traceId":"1","id":"2","parentId":"zz","timestamp":1},{"traceId":"1","id":"2","timestamp":1}]"#;
    let converted = from_json(body.as_bytes()).unwrap();
    assert_eq!(converted.malformed, 2);
    let request = decode(&converted);
    let spans = &request.resource_spans[0].scope_spans[0].spans;
    let ids: Vec<_> =
        spans.iter().map(|span| (span.trace_id.len(), span.parent_span_id.len())).collect();
    assert_eq!(ids, [(0, 0), (16, 1), (16, 0)]);
    assert!(from_json(b"{}").is_err() && from_json(b"[{]").is_err());
}

#[test]
fn both_forms_say_the_same() {
    let mut endpoint = Vec::new();
    put_bytes(&mut endpoint, 1, b"orders");
    put_bytes(&mut endpoint, 2, &[10, 0, 0, 1]);
    put_number(&mut endpoint, 4, 80);
    let mut remote = Vec::new();
    put_bytes(&mut remote, 1, b"web");
    put_bytes(&mut remote, 3, &std::net::Ipv6Addr::LOCALHOST.octets());
    let mut annotation = vec![9];
    annotation.extend_from_slice(&1_700_000_000_000_002_u64.to_le_bytes());
    put_bytes(&mut annotation, 2, b"ws");
    let mut span = Vec::new();
    put_bytes(&mut span, 1, &0x0123_4567_89ab_cdef_u64.to_be_bytes());
    put_bytes(&mut span, 2, &1_u64.to_be_bytes());
    put_bytes(&mut span, 3, &0xab_u64.to_be_bytes());
    put_number(&mut span, 4, 2);
    put_bytes(&mut span, 5, b"get");
    span.push(6 << 3 | 1);
    span.extend_from_slice(&1_700_000_000_000_001_u64.to_le_bytes());
    put_number(&mut span, 7, 5);
    put_bytes(&mut span, 8, &endpoint);
    put_bytes(&mut span, 9, &remote);
    put_bytes(&mut span, 10, &annotation);
    for (key, value) in [("http.path", "/a"), ("error", "boom")] {
        let mut tag = Vec::new();
        put_bytes(&mut tag, 1, key.as_bytes());
        put_bytes(&mut tag, 2, value.as_bytes());
        put_bytes(&mut span, 11, &tag);
    }
    put_number(&mut span, 13, 1);
    let mut list = Vec::new();
    put_bytes(&mut list, 1, &span);
    assert_eq!(from_proto(&list).unwrap(), from_json(SPAN.as_bytes()).unwrap());
}
