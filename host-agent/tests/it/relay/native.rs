//! Protobuf: native histograms survive, and text becomes metrics.

use prost::Message as _;

use super::harness::{Exporter, OPENMETRICS, PROTOBUF, Prometheus, Relay, TEXT, said};
use super::protobuf::{
    BucketSpan, Histogram, LabelPair, Metric, MetricFamily, MetricType, decode, encode,
};

fn label(name: &str, value: &str) -> LabelPair {
    LabelPair { name: Some(name.to_owned()), value: Some(value.to_owned()) }
}

/// A native histogram of 6 observations, 1 of them 0.
fn native() -> MetricFamily {
    let histogram = Histogram {
        sample_count: Some(6),
        sample_sum: Some(12.5),
        schema: Some(0),
        zero_threshold: Some(1e-128),
        zero_count: Some(1),
        positive_span: vec![BucketSpan { offset: Some(0), length: Some(2) }],
        positive_delta: vec![2, 1],
        ..Histogram::default()
    };
    let metric = Metric {
        label: vec![label("instance", "inner"), label("path", "/a\"b")],
        histogram: Some(histogram),
        timestamp_ms: Some(1000),
        ..Metric::default()
    };
    MetricFamily {
        name: Some("latency_seconds".to_owned()),
        help: Some("Time.".to_owned()),
        r#type: Some(MetricType::Histogram.into()),
        metric: vec![metric],
    }
}

/// Answers in protobuf who accepts it, in text otherwise.
async fn exporter() -> Exporter {
    Exporter::start(|_, headers| {
        let accept = headers["accept"].to_str().unwrap();
        if accept.starts_with("application/vnd.google.protobuf") {
            said(PROTOBUF, encode(&[native()]))
        } else {
            said(TEXT, "latency_seconds_count 6\n")
        }
    })
    .await
}

#[tokio::test]
async fn a_native_histogram_passes_with_all_of_its_fields_and_the_target_s_labels() {
    let exporter = exporter().await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let (_, kind, body) = relay.get("/metrics", PROTOBUF).await;
    assert_eq!(kind, PROTOBUF);
    let families = decode(&body);
    let names: Vec<&str> = families.iter().map(|family| family.name.as_deref().unwrap()).collect();
    assert!(names.is_sorted(), "{names:?}");
    let passed = families.iter().find(|one| one.name == native().name).unwrap();
    let mut expected = native();
    expected.metric[0].timestamp_ms = None;
    expected.metric[0].label = vec![
        label("instance", &exporter.address.to_string()),
        label("job", "x"),
        label("exported_instance", "inner"),
        label("path", "/a\"b"),
    ];
    assert_eq!(*passed, expected);
}

#[tokio::test]
async fn lines_of_text_become_the_metrics_that_they_are() {
    let text = "# TYPE s summary\ns{quantile=\"0.5\",a=\"1\"} 2\ns_sum{a=\"1\"} 3\ns_count{a=\"1\"} 4\n\
        # TYPE h histogram\nh_bucket{le=\"0.5\",a=\"x\\ny\"} 1 # {t=\"1\"} 0.4 1700000000.5\n\
        h_bucket{le=\"+Inf\",a=\"x\\ny\"} 2\nh_sum{a=\"x\\ny\"} 1.5\nh_count{a=\"x\\ny\"} 2\n\
        # TYPE c counter\nc_total 5 # {t=\"2\"} 1.0\n# EOF\n";
    let exporter = Exporter::saying(OPENMETRICS, text).await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let (_, _, body) = relay.get("/metrics", PROTOBUF).await;
    let families = decode(&body);
    let of = |name: &str| {
        let family = families.iter().find(|one| one.name.as_deref() == Some(name)).unwrap();
        assert_eq!(family.metric.len(), 1, "{family:?}");
        (family.r#type(), family.metric[0].clone())
    };
    let (kind, summary) = of("s");
    assert_eq!(kind, MetricType::Summary);
    assert_eq!(summary.label[2], label("a", "1"));
    let summary = summary.summary.unwrap();
    assert_eq!((summary.sample_count, summary.sample_sum), (Some(4), Some(3.0)));
    assert_eq!(summary.quantile[0].value, Some(2.0));
    let (kind, histogram) = of("h");
    assert_eq!(kind, MetricType::Histogram);
    assert_eq!(histogram.label[2], label("a", "x\ny"));
    let histogram = histogram.histogram.unwrap();
    assert_eq!((histogram.sample_count, histogram.sample_sum), (Some(2), Some(1.5)));
    let bounds: Vec<_> =
        histogram.bucket.iter().map(|b| (b.upper_bound, b.cumulative_count)).collect();
    assert_eq!(bounds, [(Some(0.5), Some(1)), (Some(f64::INFINITY), Some(2))]);
    let exemplar = histogram.bucket[0].exemplar.clone().unwrap();
    assert_eq!((exemplar.label, exemplar.value), (vec![label("t", "1")], Some(0.4)));
    let time = exemplar.timestamp.unwrap();
    assert_eq!((time.seconds, time.nanos), (1_700_000_000, 500_000_000));
    let (kind, counter) = of("c_total");
    assert_eq!(kind, MetricType::Counter);
    let counter = counter.counter.unwrap();
    assert_eq!((counter.value, counter.exemplar.unwrap().value), (Some(5.0), Some(1.0)));
}

#[tokio::test]
async fn protobuf_that_was_not_asked_for_is_shown_in_text() {
    let exporter = Exporter::saying(PROTOBUF, encode(&[native()])).await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let text = relay.text().await;
    let labels = format!(
        "instance=\"{}\",job=\"x\",exported_instance=\"inner\",path=\"/a\\\"b\"",
        exporter.address
    );
    let expected = format!(
        "# HELP latency_seconds Time.\n# TYPE latency_seconds histogram\n\
         latency_seconds_bucket{{{labels},le=\"+Inf\"}} 6\nlatency_seconds_sum{{{labels}}} 12.5\n\
         latency_seconds_count{{{labels}}} 6\n"
    );
    assert!(text.contains(&expected), "{text}");
}

#[tokio::test]
async fn prometheus_stores_native_histograms_that_came_through_the_relay() {
    let test = "prometheus_stores_native_histograms_that_came_through_the_relay";
    let exporter = exporter().await;
    let relay = Relay::start(&[("x", exporter.url())], |_| {}).await;
    let config = format!(
        "- {{job_name: hosts, honor_labels: true, static_configs: [{{targets: ['{}']}}]}}\n",
        relay.address
    );
    let flags = ["--enable-feature=native-histograms"];
    let Some(prometheus) = Prometheus::start(test, &config, &flags).await else { return };
    let found = prometheus.query_until("histogram_sum(latency_seconds{job=\"x\"})", 1).await;
    assert_eq!(found[0].1, "12.5");
    let count = prometheus.query("histogram_count(latency_seconds)").await;
    assert_eq!(count[0].1, "6");
    assert_eq!(count[0].0["exported_instance"], "inner");
    assert!(native().encoded_len() > 0);
}
