//! What a caller sees of well-behaved exporters.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::registration::Registration;
use host_agent::instances::{Instance, Instances};

use super::harness::{Exporter, OPENMETRICS, Relay, TEXT, value_of};

const ORDERS: &str = "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n\
    http_requests_total{code=\"200\",instance=\"x\"} 7 1000\n\
    # TYPE seconds histogram\nseconds_bucket{le=\"1\"} 1\nseconds_bucket{le=\"+Inf\"} 2\nseconds_sum 3.5\nseconds_count 2\n";
const QUOTES: &str = "# HELP http_requests Others.\n# TYPE http_requests counter\n\
    http_requests_total{code=\"200\"} 9 # {trace_id=\"abc\"} 1.0 1700000000.5\n# EOF\n";

#[tokio::test]
async fn all_targets_are_one_answer_with_their_labels_and_one_header_for_each_family() {
    let orders = Exporter::saying(TEXT, ORDERS).await;
    let quotes = Exporter::saying(OPENMETRICS, QUOTES).await;
    let targets = [("orders", orders.url()), ("quotes", quotes.url())];
    let relay = Relay::start(&targets, |raw| raw.up = false).await;
    let (_, kind, body) = relay.get("/metrics", TEXT).await;
    assert_eq!(kind, TEXT);
    let text = String::from_utf8(body).unwrap();
    let own = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("mesh_relay"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let (o, q) = (orders.address, quotes.address);
    assert_eq!(
        own(&text),
        format!(
            "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n\
             http_requests_total{{instance=\"{o}\",job=\"orders\",code=\"200\",exported_instance=\"x\"}} 7\n\
             http_requests_total{{instance=\"{q}\",job=\"quotes\",code=\"200\"}} 9\n\
             # TYPE seconds histogram\n\
             seconds_bucket{{instance=\"{o}\",job=\"orders\",le=\"1\"}} 1\n\
             seconds_bucket{{instance=\"{o}\",job=\"orders\",le=\"+Inf\"}} 2\n\
             seconds_sum{{instance=\"{o}\",job=\"orders\"}} 3.5\n\
             seconds_count{{instance=\"{o}\",job=\"orders\"}} 2\n"
        )
    );
    let (_, kind, body) = relay.get("/metrics", OPENMETRICS).await;
    assert_eq!(kind, OPENMETRICS);
    assert_eq!(
        own(&String::from_utf8(body).unwrap()),
        format!(
            "# HELP http_requests Requests.\n# TYPE http_requests counter\n\
             http_requests_total{{instance=\"{o}\",job=\"orders\",code=\"200\",exported_instance=\"x\"}} 7\n\
             http_requests_total{{instance=\"{q}\",job=\"quotes\",code=\"200\"}} 9 # {{trace_id=\"abc\"}} 1.0 1700000000.5\n\
             # TYPE seconds histogram\n\
             seconds_bucket{{instance=\"{o}\",job=\"orders\",le=\"1.0\"}} 1\n\
             seconds_bucket{{instance=\"{o}\",job=\"orders\",le=\"+Inf\"}} 2\n\
             seconds_sum{{instance=\"{o}\",job=\"orders\"}} 3.5\n\
             seconds_count{{instance=\"{o}\",job=\"orders\"}} 2\n# EOF\n"
        )
    );
}

#[tokio::test]
async fn a_dead_exporter_costs_only_itself_and_is_named() {
    let good = Exporter::saying(TEXT, "a 1\n").await;
    let targets = [("dead", "http://127.0.0.1:9/metrics".to_owned()), ("good", good.url())];
    let relay = Relay::start(&targets, |_| {}).await;
    let text = relay.text().await;
    let good = format!("instance=\"{}\",job=\"good\"", good.address);
    let dead = "instance=\"127.0.0.1:9\",job=\"dead\"";
    for (series, value) in [
        (format!("a{{{good}}}"), "1"),
        (format!("up{{{good}}}"), "1"),
        (format!("mesh_relay_target_samples{{{good}}}"), "1"),
        (format!("up{{{dead}}}"), "0"),
        (format!("mesh_relay_target_up{{{dead}}}"), "0"),
        (format!("mesh_relay_target_error{{{dead},class=\"connect\"}}"), "1"),
    ] {
        assert_eq!(value_of(&text, &series).as_deref(), Some(value), "{series}\n{text}");
    }
    assert!(text.contains(&format!("mesh_relay_target_scrape_duration_seconds{{{dead}}} ")));
}

#[tokio::test]
async fn a_type_that_most_do_not_share_is_dropped_where_its_samples_have_another_shape() {
    let histogram = "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n";
    let most =
        Exporter::saying(TEXT, format!("{histogram}# TYPE b counter\nb 1\nb{{x=\"1\"}} 2\n"));
    let most = most.await;
    let other = Exporter::saying(TEXT, "# TYPE a gauge\na 5\n# TYPE b gauge\nb 3\n").await;
    let relay = Relay::start(&[("most", most.url()), ("other", other.url())], |_| {}).await;
    let text = relay.text().await;
    assert_eq!(text.matches("# TYPE a ").count(), 1);
    assert!(text.contains("# TYPE a histogram\n") && text.contains("# TYPE b counter\n"), "{text}");
    let other = format!("{{instance=\"{}\",job=\"other\"}}", other.address);
    assert_eq!(value_of(&text, &format!("a{other}")), None);
    assert_eq!(value_of(&text, &format!("b{other}")).as_deref(), Some("3"));
}

#[tokio::test]
async fn timestamps_are_left_out_unless_asked_for() {
    let exporter = Exporter::saying(TEXT, "a 1 1700000000123\n").await;
    let relay = Relay::start(&[("x", exporter.url())], |raw| raw.keep_timestamps = true).await;
    assert!(relay.text().await.contains("} 1 1700000000123\n"));
    let (_, _, open) = relay.get("/metrics", OPENMETRICS).await;
    assert!(String::from_utf8(open).unwrap().contains("} 1 1700000000.123\n"));
}

fn an_instance(id: &str, system: &str, exporter: &Exporter) -> Instance {
    let port = exporter.address.port();
    let meta = [
        ("mesh_system", system.to_owned()),
        ("mesh_metrics", format!("{port}/app")),
        ("mesh_stats", port.to_string()),
    ];
    let meta: BTreeMap<String, String> =
        meta.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Instance {
        id: id.to_owned(),
        service: "orders".to_owned(),
        address: Some([127, 0, 0, 1].into()),
        port: 8080,
        registration: Registration::from_meta(&meta),
        allocation: Some(format!("alloc-{id}")),
        gone: None,
    }
}

#[tokio::test]
async fn an_instance_s_exporter_and_sidecar_are_targets_and_can_be_asked_alone() {
    let exporter = Exporter::start(|uri, _| match uri.to_string().as_str() {
        "/app" => super::harness::said(TEXT, "a 1\n"),
        "/stats/prometheus?usedonly" => super::harness::said(TEXT, "envoy_b 2\n"),
        other => panic!("asked for {other}"),
    })
    .await;
    let mut instances = Instances { node: "n1".to_owned(), ..Instances::default() };
    let instance = Arc::new(an_instance("1", "trading", &exporter));
    instances.by_id.insert("1".to_owned(), instance);
    let relay = Relay::with_instances(&[], instances, |_| {}).await;

    let text = relay.text().await;
    let labels = |job: &str| {
        format!(
            "alloc=\"alloc-1\",instance=\"{}\",job=\"{job}\",mesh_system=\"trading\",node=\"n1\",service=\"orders\"",
            exporter.address
        )
    };
    assert_eq!(value_of(&text, &format!("a{{{}}}", labels("orders"))).as_deref(), Some("1"));
    assert_eq!(value_of(&text, &format!("envoy_b{{{}}}", labels("envoy"))).as_deref(), Some("2"));

    let (status, _, body) = relay.get("/metrics/orders/alloc-1?job=envoy", TEXT).await;
    let expected = format!("# TYPE envoy_b untyped\nenvoy_b{{{}}} 2\n", labels("envoy"));
    assert_eq!((status, String::from_utf8(body).unwrap()), (200, expected));
    let (status, _, body) = relay.get("/metrics/orders/alloc-2", TEXT).await;
    assert_eq!(status, 404);
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body, "no target of orders is called alloc-2: see /targets\n");

    let (_, _, found) = relay.get("/sd", "application/json").await;
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(found.as_array().unwrap().len(), 3, "{found}");
    let entry = found.as_array().unwrap().iter().find(|one| one["labels"]["job"] == "envoy");
    let entry = entry.unwrap();
    assert_eq!(entry["targets"], serde_json::json!([relay.address.to_string()]));
    assert_eq!(entry["labels"]["__metrics_path__"], "/metrics/orders/alloc-1");
    assert_eq!(entry["labels"]["__param_job"], "envoy");
}

#[tokio::test]
async fn a_target_asked_alone_answers_with_its_failure() {
    let relay = Relay::start(&[("dead", "http://127.0.0.1:9/metrics".to_owned())], |_| {}).await;
    let (status, _, body) = relay.get("/metrics/dead/127.0.0.1:9?job=dead", TEXT).await;
    assert_eq!(status, 502);
    assert!(String::from_utf8(body).unwrap().starts_with("no connection: "));
}

#[tokio::test]
async fn the_page_of_targets_shows_states_errors_and_no_markup_of_exporters() {
    let good = Exporter::saying(TEXT, "a 1\n").await;
    let bad = Exporter::saying("<script>", "a 1\n").await;
    let relay = Relay::start(&[("good", good.url()), ("bad", bad.url())], |_| {}).await;
    relay.text().await;
    let (_, kind, page) = relay.get("/targets", "text/html,*/*;q=0.8").await;
    let page = String::from_utf8(page).unwrap();
    assert!(kind.starts_with("text/html"));
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
    let (_, kind, json) = relay.get("/targets", "*/*").await;
    assert_eq!(kind, "application/json");
    let views: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let of = |job: &str| views.iter().find(|view| view["service"] == job).unwrap();
    assert_eq!(of("good")["up"], true);
    assert_eq!(of("good")["samples"], 1);
    assert_eq!(of("bad")["error_class"], "content_type");
}
