//! Every form that OTLP/JSON allows, and what is none.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::read;

fn message(body: &str) -> (ExportTraceServiceRequest, u32) {
    let converted = read(body.as_bytes()).unwrap();
    let message = ExportTraceServiceRequest::decode(&converted.message[..]).unwrap();
    (message, converted.malformed)
}

/// The spans of a request that has these, and how many were none.
fn spans(spans: &str) -> (Vec<Span>, u32) {
    let body = format!(r#"{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{spans}]}}]}}]}}"#);
    let (mut message, malformed) = message(&body);
    (message.resource_spans.remove(0).scope_spans.remove(0).spans, malformed)
}

fn pair(key: &str, value: Option<Value>) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value }), ..KeyValue::default() }
}

fn text(key: &str, text: &str) -> KeyValue {
    pair(key, Some(Value::StringValue(text.to_owned())))
}

#[test]
fn every_field_arrives() {
    let body = r#"{"resourceSpans": [{
        "resource": {
            "attributes": [{"key": "service.name", "value": {"stringValue": "orders"}}],
            "droppedAttributesCount": 1
        },
        "scopeSpans": [{
            "scope": {
                "name": "library", "version": "1.2",
                "attributes": [{"key": "a", "value": {"stringValue": "b"}}], "droppedAttributesCount": 2
            },
            "spans": [{
                "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "eee19b7ec3c1b173", "traceState": "x=y", "flags": 257, "name": "work", "kind": 2,
                "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
                "attributes": [{"key": "c", "value": {"stringValue": "d"}}], "droppedAttributesCount": 3,
                "events": [{
                    "timeUnixNano": "1544712660500000000", "name": "began",
                    "attributes": [{"key": "e", "value": {"stringValue": "f"}}], "droppedAttributesCount": 4
                }],
                "droppedEventsCount": 5,
                "links": [{
                    "traceId": "5b8efff798038103d269b633813fc60d", "spanId": "eee19b7ec3c1b175", "traceState": "z=",
                    "attributes": [{"key": "g", "value": {"stringValue": "h"}}], "droppedAttributesCount": 6, "flags": 768
                }],
                "droppedLinksCount": 7,
                "status": {"message": "failed", "code": 2}
            }],
            "schemaUrl": "https://example.com/scope"
        }],
        "schemaUrl": "https://example.com/resource"
    }]}"#;
    let trace = 0x5b8e_fff7_9803_8103_d269_b633_813f_c60c_u128;
    let id = 0xeee1_9b7e_c3c1_b174_u64;
    let span = Span {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        trace_state: "x=y".to_owned(),
        parent_span_id: (id - 1).to_be_bytes().to_vec(),
        flags: 257,
        name: "work".to_owned(),
        kind: 2,
        start_time_unix_nano: 1_544_712_660_000_000_000,
        end_time_unix_nano: 1_544_712_661_000_000_000,
        attributes: vec![text("c", "d")],
        dropped_attributes_count: 3,
        events: vec![Event {
            time_unix_nano: 1_544_712_660_500_000_000,
            name: "began".to_owned(),
            attributes: vec![text("e", "f")],
            dropped_attributes_count: 4,
        }],
        dropped_events_count: 5,
        links: vec![Link {
            trace_id: (trace + 1).to_be_bytes().to_vec(),
            span_id: (id + 1).to_be_bytes().to_vec(),
            trace_state: "z=".to_owned(),
            attributes: vec![text("g", "h")],
            dropped_attributes_count: 6,
            flags: 768,
        }],
        dropped_links_count: 7,
        status: Some(Status { message: "failed".to_owned(), code: 2 }),
    };
    let scope = InstrumentationScope {
        name: "library".to_owned(),
        version: "1.2".to_owned(),
        attributes: vec![text("a", "b")],
        dropped_attributes_count: 2,
    };
    let expected = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", "orders")],
                dropped_attributes_count: 1,
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: vec![span],
                schema_url: "https://example.com/scope".to_owned(),
            }],
            schema_url: "https://example.com/resource".to_owned(),
        }],
    };
    assert_eq!(message(body), (expected, 0));
}

#[test]
fn every_form_of_a_value_is_understood() {
    let list = |values| Some(Value::ArrayValue(ArrayValue { values }));
    let map = |values| Some(Value::KvlistValue(KeyValueList { values }));
    let one = AnyValue { value: Some(Value::IntValue(1)) };
    for (json, expected) in [
        (r#"{"stringValue": ""}"#, Some(Value::StringValue(String::new()))),
        (r#"{"boolValue": false}"#, Some(Value::BoolValue(false))),
        (r#"{"intValue": "-9223372036854775808"}"#, Some(Value::IntValue(i64::MIN))),
        (r#"{"intValue": 9223372036854775807}"#, Some(Value::IntValue(i64::MAX))),
        (r#"{"intValue": 3.0}"#, Some(Value::IntValue(3))),
        (r#"{"doubleValue": 0.5}"#, Some(Value::DoubleValue(0.5))),
        (r#"{"doubleValue": 2}"#, Some(Value::DoubleValue(2.0))),
        (r#"{"doubleValue": "1.5"}"#, Some(Value::DoubleValue(1.5))),
        (r#"{"doubleValue": "Infinity"}"#, Some(Value::DoubleValue(f64::INFINITY))),
        (r#"{"doubleValue": "-Infinity"}"#, Some(Value::DoubleValue(f64::NEG_INFINITY))),
        (r#"{"bytesValue": "+/8="}"#, Some(Value::BytesValue(vec![0xfb, 0xff]))),
        (r#"{"bytesValue": "-_8"}"#, Some(Value::BytesValue(vec![0xfb, 0xff]))),
        (
            r#"{"arrayValue": {"values": [{"intValue": 1}, {}]}}"#,
            list(vec![one, AnyValue::default()]),
        ),
        (r#"{"arrayValue": {}}"#, list(Vec::new())),
        (r#"{"arrayValue": {"values": null}}"#, list(Vec::new())),
        (
            r#"{"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "b"}}]}}"#,
            map(vec![text("a", "b")]),
        ),
        (r#"{"kvlistValue": {}}"#, map(Vec::new())),
        (r"{}", None),
        (r#"{"stringValue": null}"#, None),
        (r#"{"laterValue": {"a": [1]}, "boolValue": true}"#, Some(Value::BoolValue(true))),
    ] {
        let (spans, malformed) =
            spans(&format!(r#"{{"attributes": [{{"key": "k", "value": {json}}}]}}"#));
        assert_eq!(malformed, 0, "{json}");
        assert_eq!(spans[0].attributes, [pair("k", expected)], "{json}");
    }
    let (spans, _) = spans(r#"{"attributes": [{"key": "k", "value": {"doubleValue": "NaN"}}]}"#);
    let value = spans[0].attributes[0].value.as_ref().unwrap().value.as_ref().unwrap();
    assert!(matches!(value, Value::DoubleValue(value) if value.is_nan()), "{value:?}");
}

#[test]
fn what_is_absent_null_or_unknown_is_as_if_it_were_not_there() {
    let (empty, _) = spans("{}");
    for json in [
        r#"{"traceId": null, "parentSpanId": null, "name": null, "kind": null, "startTimeUnixNano": null,
            "attributes": null, "events": null, "links": null, "status": null, "droppedLinksCount": null}"#,
        r#"{"parentSpanId": "", "later": {"a": [1, "b"]}, "trace_id": "00000000000000000000000000000001"}"#,
    ] {
        assert_eq!(spans(json), (empty.clone(), 0), "{json}");
    }
    assert_eq!(message("{}"), (ExportTraceServiceRequest::default(), 0));
    let body = r#"{"resourceSpans": [{"resource": null, "scopeSpans": [{"scope": null, "spans": null}], "later": 1}]}"#;
    let (message, _) = message(body);
    let scope_spans = vec![ScopeSpans::default()];
    assert_eq!(message.resource_spans, [ResourceSpans { scope_spans, ..ResourceSpans::default() }]);
}

#[test]
fn a_span_that_is_none_costs_itself_alone() {
    for json in [
        "null",
        "7",
        "[]",
        r#"{"name": 7}"#,
        r#"{"kind": "SPAN_KIND_SERVER"}"#,
        r#"{"startTimeUnixNano": "soon"}"#,
        r#"{"startTimeUnixNano": -1}"#,
        r#"{"startTimeUnixNano": 1.5}"#,
        r#"{"startTimeUnixNano": "18446744073709551616"}"#,
        r#"{"droppedLinksCount": 4294967296}"#,
        r#"{"attributes": {"a": "b"}}"#,
        r#"{"attributes": [{"key": "k", "value": {"bytesValue": "!"}}]}"#,
        r#"{"attributes": [{"key": "k", "value": {"doubleValue": "much"}}]}"#,
        r#"{"name": "\ud800"}"#,
    ] {
        let (spans, malformed) = spans(&format!(r#"{{"name": "a"}}, {json}, {{"name": "b"}}"#));
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!((names.as_slice(), malformed), (["a", "b"].as_slice(), 1), "{json}");
    }
}

#[test]
fn what_is_no_id_has_a_length_that_no_id_has() {
    for id in ["z", "0", "0g", "\u{fc}\u{fc}", " 1"] {
        let json = format!(r#"{{"traceId": "{id}", "spanId": "{id}", "parentSpanId": "{id}"}}"#);
        let (spans, malformed) = spans(&json);
        let span = &spans[0];
        assert_eq!(malformed, 0, "{id}");
        assert_eq!([&span.trace_id, &span.span_id, &span.parent_span_id], [&[0]; 3], "{id}");
    }
}

#[test]
fn what_is_no_request_is_refused_with_its_place() {
    for (body, reason) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("[]", "expected an object"),
        ("[[]]", "expected an object"),
        (r#"{"resourceSpans": {}}"#, "invalid type: map, expected a sequence"),
        (
            r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "a}]}]}]}"#,
            "EOF while parsing a string",
        ),
    ] {
        let error = read(body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(reason), "{body}: {error}");
    }
}
