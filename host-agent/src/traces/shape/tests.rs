//! What leaves of what came.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::traces::wire::{put_bytes, put_number};

const NOW: u64 = 1_800_000_000_000_000_000;

fn shape() -> Shape {
    Shape {
        limits: Limits {
            attributes: 4,
            attribute_bytes: 100,
            span_bytes: 2000,
            ahead: Duration::from_secs(60),
            age: Duration::from_secs(3600),
        },
        redaction: Redaction::default(),
        overwrite: Vec::new(),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn span() -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        name: "work".to_owned(),
        start_time_unix_nano: NOW - 1000,
        end_time_unix_nano: NOW,
        attributes: vec![text("a", "1")],
        ..Span::default()
    }
}

fn request(resource: Vec<KeyValue>, spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource, ..Resource::default() }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "lib".to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans,
                schema_url: "scope-url".to_owned(),
            }],
            schema_url: "url".to_owned(),
        }],
    }
}

fn origin() -> Origin {
    let mut origin = Origin::default();
    origin.say("service.name", "orders");
    origin.say("host.name", "host-a");
    origin
}

fn run(
    shape: &Shape,
    origin: &Origin,
    request: &ExportTraceServiceRequest,
) -> (Shaped, ExportTraceServiceRequest) {
    let shaped = shape.shape(&request.encode_to_vec(), origin, NOW).unwrap();
    let decoded = ExportTraceServiceRequest::decode(shaped.bytes.as_slice()).unwrap();
    (shaped, decoded)
}

#[test]
fn what_needs_no_change_leaves_as_it_came() {
    let request = request(vec![text("service.name", "mine")], vec![span(), span()]);
    let bytes = request.encode_to_vec();
    let shaped = shape().shape(&bytes, &Origin::default(), NOW).unwrap();
    assert_eq!((shaped.bytes, shaped.spans, shaped.changed), (bytes, 2, 0));
}

#[test]
fn unknown_fields_survive_at_every_level() {
    let mut inner = span().encode_to_vec();
    put_bytes(&mut inner, 99, b"new in span");
    let mut scope = Vec::new();
    put_bytes(&mut scope, 2, &inner);
    put_bytes(&mut scope, 98, b"new in scope");
    let mut resource = Vec::new();
    put_bytes(&mut resource, 2, &scope);
    put_number(&mut resource, 97, 5);
    let mut body = Vec::new();
    put_bytes(&mut body, 1, &resource);
    let shaped = shape().shape(&body, &origin(), NOW).unwrap();
    for new in [&b"new in span"[..], b"new in scope"] {
        assert!(shaped.bytes.windows(new.len()).any(|window| window == new));
    }
    assert_eq!(shaped.spans, 1);
}

#[test]
fn the_resource_gets_what_it_lacks_and_keeps_what_it_has() {
    let set = vec![text("service.name", "mine"), text("other", "x")];
    let expected =
        vec![text("service.name", "mine"), text("other", "x"), text("host.name", "host-a")];
    let (_, decoded) = run(&shape(), &origin(), &request(set.clone(), vec![span()]));
    assert_eq!(decoded, request(expected, vec![span()]));

    let told = Shape { overwrite: vec!["service.name".to_owned()], ..shape() };
    let (_, decoded) = run(&told, &origin(), &request(set, vec![span()]));
    let expected =
        vec![text("other", "x"), text("service.name", "orders"), text("host.name", "host-a")];
    assert_eq!(decoded, request(expected, vec![span()]));

    let fallback = vec![text("service.name", "unknown_service:python")];
    let (_, decoded) = run(&shape(), &origin(), &request(fallback, vec![span()]));
    let expected = vec![text("service.name", "orders"), text("host.name", "host-a")];
    assert_eq!(decoded, request(expected, vec![span()]));
}

#[test]
fn a_bad_span_is_rejected_by_name_and_its_neighbours_pass() {
    let bad = [
        (Reject::TraceId, Span { trace_id: vec![0; 16], ..span() }),
        (Reject::TraceId, Span { trace_id: vec![7; 8], ..span() }),
        (Reject::SpanId, Span { span_id: vec![], ..span() }),
        (Reject::SpanId, Span { parent_span_id: vec![1], ..span() }),
        (Reject::Clock, Span { start_time_unix_nano: 0, ..span() }),
        (Reject::Clock, Span { end_time_unix_nano: NOW + 61_000_000_000, ..span() }),
        (Reject::Clock, Span { start_time_unix_nano: 5, end_time_unix_nano: 6, ..span() }),
        (Reject::TooLarge, Span { name: "x".repeat(3000), ..span() }),
    ];
    for (why, bad) in bad {
        let spans = vec![span(), bad, span()];
        let (shaped, decoded) = run(&shape(), &Origin::default(), &request(vec![], spans));
        assert_eq!(shaped.rejected, BTreeMap::from([(why, 1)]));
        assert_eq!(decoded, request(vec![], vec![span(), span()]), "{why:?}");
    }
}

#[test]
fn text_that_is_not_utf_8_is_rejected_wherever_it_is() {
    let good = request(
        vec![text("key", "QQQQ")],
        vec![Span { name: "WWWW".to_owned(), attributes: vec![text("k", "VVVV")], ..span() }],
    );
    let bytes = good.encode_to_vec();
    for needle in [b"QQQQ", b"WWWW", b"VVVV"] {
        let at = bytes.windows(4).position(|window| window == needle).unwrap();
        let mut bad = bytes.clone();
        bad[at] = 0xff;
        let shaped = shape().shape(&bad, &origin(), NOW).unwrap();
        assert_eq!((shaped.spans, shaped.bytes.len()), (0, 0));
        assert_eq!(shaped.rejected, BTreeMap::from([(Reject::NotUtf8, 1)]));
    }
}

#[test]
fn surplus_attributes_are_dropped_and_counted_in_the_span() {
    let many: Vec<KeyValue> = (0..6).map(|n| text(&format!("k{n}"), "v")).collect();
    let event = Event { attributes: many.clone(), ..Event::default() };
    let full = Span {
        attributes: many.clone(),
        dropped_attributes_count: 3,
        events: vec![event],
        ..span()
    };
    let (shaped, decoded) = run(&shape(), &Origin::default(), &request(vec![], vec![full.clone()]));
    let kept = many[..4].to_vec();
    let event = Event { attributes: kept.clone(), dropped_attributes_count: 2, ..Event::default() };
    let expected =
        Span { attributes: kept, dropped_attributes_count: 5, events: vec![event], ..full };
    assert_eq!(decoded, request(vec![], vec![expected]));
    assert_eq!(shaped.changed, 1);
}

#[test]
fn long_text_is_shortened_at_a_character_and_other_long_values_are_dropped() {
    let long = text("sql", &"é".repeat(200));
    let value = Some(AnyValue { value: Some(Value::BytesValue(vec![1; 300])) });
    let blob = KeyValue { key: "blob".to_owned(), value, ..KeyValue::default() };
    let given = Span { attributes: vec![long, blob], ..span() };
    let (_, decoded) = run(&shape(), &Origin::default(), &request(vec![], vec![given]));
    let span = &decoded.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (1, 1));
    let Some(Value::StringValue(text)) = &span.attributes[0].value.as_ref().unwrap().value else {
        panic!("no text")
    };
    assert!(text.starts_with("éé") && text.ends_with("é…") && text.len() < 100, "{text}");
}

#[test]
fn secrets_are_masked_in_spans_events_and_resources() {
    let redaction = Redaction::parse(&["*token".to_owned()]).unwrap();
    let given = Span {
        attributes: vec![text("auth.token", "s3cret"), text("a", "1")],
        events: vec![Event { attributes: vec![text("token", "s3cret")], ..Event::default() }],
        ..span()
    };
    let shape = Shape { redaction, ..shape() };
    let (shaped, _) =
        run(&shape, &origin(), &request(vec![text("x-token", "s3cret")], vec![given]));
    assert!(!shaped.bytes.windows(6).any(|window| window == b"s3cret"));
    assert_eq!(shaped.bytes.windows(10).filter(|window| window == b"[redacted]").count(), 3);
}

#[test]
fn a_request_that_is_none_is_malformed() {
    for bad in [&b"\x0a\x05abc"[..], b"garbage", &[0xff; 20]] {
        assert!(shape().shape(bad, &origin(), NOW).is_err(), "{bad:?}");
    }
    assert_eq!(shape().shape(b"", &origin(), NOW).unwrap(), Shaped::default());
}

#[test]
fn spans_that_end_before_they_begin_pass_and_are_counted() {
    let backwards = Span { end_time_unix_nano: NOW - 2000, ..span() };
    let (shaped, decoded) =
        run(&shape(), &Origin::default(), &request(vec![], vec![backwards.clone()]));
    assert_eq!(shaped.backwards, 1);
    assert_eq!(decoded, request(vec![], vec![backwards]));
}
