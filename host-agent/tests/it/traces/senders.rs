//! Real senders and a real receiver: OpenTelemetry's SDK for Python, and rotel between the agent and the store.

use std::path::Path;
use std::time::Duration;

use lab::collector::Collector;
use lab::parts;
use lab::ports;
use lab::process::{Process, Program, run};
use lab::wait;

use super::agent::{Agent, SOON};

/// The SDK as a program that sends twenty spans of `orders` to a port of its loopback.
pub(super) fn sdk(python: &Path, how: &str, port: u16) -> Program {
    let judge = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/judges/otel/send.py");
    let args = [judge.display().to_string(), how.to_owned(), port.to_string(), "20".to_owned()];
    Program::new(how, python).args(args).env("OTEL_SERVICE_NAME", "")
}

async fn send(python: &Path, agent: &Agent, how: &str) {
    run(&sdk(python, how, agent.listen)).await.unwrap();
}

pub(super) async fn count(collector: &Collector, wanted: usize) {
    wait::until("the spans arrive", SOON, async || {
        let seen = collector.times().len();
        if seen == wanted { Ok(()) } else { Err(format!("{seen} of {wanted}")) }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn opentelemetry_s_sdk_for_python_sends_in_every_way_it_has() {
    let Some(python) = parts::real_part_or_skip("opentelemetry_s_sdk_for_python", "otel") else {
        return;
    };
    let collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    for how in ["grpc", "grpc-gzip", "http", "http-gzip", "json", "json-gzip", "zipkin"] {
        send(&python, &agent, how).await;
    }
    count(&collector, 140).await;
    let spans = collector.spans();
    for span in &spans {
        assert_eq!(span.resource["service.name"], "orders", "{span:?}");
        assert_eq!(span.resource["service.namespace"], "trading");
        assert!(span.attributes.contains_key("n"), "{span:?}");
    }
    // Parents stay parents.
    let inner = spans.iter().filter(|span| span.parent != 0).count();
    assert_eq!(inner, 70);
    let received = agent.metric("mesh_traces_received_spans_total").await;
    let json = r#"{sender="trading/orders",protocol="otlp_json"}"#;
    assert_eq!(received.get(json), Some(&40.0), "{received:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotel_takes_what_the_agent_sends() {
    let test = "rotel_takes_what_the_agent_sends";
    let Some(python) = parts::real_part_or_skip(test, "otel") else { return };
    let Some(rotel) = parts::real_part_or_skip(test, "rotel") else { return };
    let collector = Collector::start().await.unwrap();
    let (grpc, http) = (ports::reserve().unwrap(), ports::reserve().unwrap());
    for back_end in [format!("grpc://127.0.0.1:{grpc}"), format!("http://127.0.0.1:{http}")] {
        let agent = Agent::start(&back_end, "").await;
        let program = Program::new("rotel", &rotel).args([
            "start".to_owned(),
            format!("--otlp-grpc-endpoint=127.0.0.1:{grpc}"),
            format!("--otlp-http-endpoint=127.0.0.1:{http}"),
            "--exporter=otlp".to_owned(),
            "--otlp-exporter-protocol=grpc".to_owned(),
            format!("--otlp-exporter-endpoint=http://{}", collector.address()),
            "--batch-timeout=100ms".to_owned(),
        ]);
        let before = collector.times().len();
        // The agent had spans before there was a back end.
        send(&python, &agent, "grpc").await;
        let mut rotel = Process::start(&program, agent.folder.path()).unwrap();
        count(&collector, before + 20).await;
        rotel.stop(Duration::from_secs(5)).await.unwrap();
    }
}

/// An Envoy with a listener for each tracer; each answers by itself, which makes a span.
fn envoy(agent: u16, ports: [u16; 3]) -> String {
    let zipkin = |version: &str| {
        serde_json::json!({ "name": "envoy.tracers.zipkin", "typed_config": {
            "@type": "type.googleapis.com/envoy.config.trace.v3.ZipkinConfig",
            "collector_cluster": "agent", "collector_endpoint": "/api/v2/spans",
            "collector_endpoint_version": version, "shared_span_context": false,
        }})
    };
    let otlp = serde_json::json!({ "name": "envoy.tracers.opentelemetry", "typed_config": {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
        "grpc_service": { "envoy_grpc": { "cluster_name": "agent-h2" } },
    }});
    let tracers = [otlp, zipkin("HTTP_JSON"), zipkin("HTTP_PROTO")];
    let listeners = tracers.iter().zip(ports).map(|(tracer, port)| {
        serde_json::json!({
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
            "filter_chains": [{ "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "test", "tracing": { "provider": tracer },
                    "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                        { "match": { "prefix": "/" }, "direct_response": { "status": 200 } },
                    ]}]},
                    "http_filters": [{ "name": "envoy.filters.http.router", "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                    }}],
                },
            }]}],
        })
    });
    let cluster = |name: &str, options: serde_json::Value| {
        serde_json::json!({
            "name": name, "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": options,
            "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": agent } },
            }}]}]},
        })
    };
    let h2 = serde_json::json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    }});
    serde_json::json!({
        "node": { "id": "alloc-quotes", "cluster": "quotes" },
        "static_resources": {
            "listeners": listeners.collect::<Vec<_>>(),
            "clusters": [cluster("agent", serde_json::json!({})), cluster("agent-h2", h2)],
        },
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_s_tracers_are_taken_and_recognised() {
    let Some(binary) =
        parts::real_part_or_skip("envoy_s_tracers_are_taken_and_recognised", "envoy")
    else {
        return;
    };
    let collector = Collector::start().await.unwrap();
    let agent = Agent::with(&collector).await;
    let ports = [(); 3].map(|()| ports::reserve().unwrap());
    let program = Program::new("envoy", &binary)
        .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning"])
        .args(["--config-yaml".to_owned(), envoy(agent.listen, ports)]);
    let mut envoy = Process::start(&program, agent.folder.path()).unwrap();
    for port in ports {
        let url = format!("http://127.0.0.1:{port}/");
        let ask = async || {
            agent
                .http
                .get(&url)
                .send()
                .await
                .and_then(reqwest::Response::error_for_status)
                .map(drop)
        };
        envoy.until("Envoy answers", SOON, ask).await.unwrap();
    }
    wait::until("a span of each tracer arrives", SOON, async || {
        let received = agent.metric("mesh_traces_received_spans_total").await;
        let words = ["otlp_grpc", "zipkin_json", "zipkin_proto"];
        let has = |word: &&str| received.keys().any(|labels| labels.contains(*word));
        if words.iter().all(has) && collector.times().len() >= 3 {
            Ok(())
        } else {
            Err(format!("{received:?}"))
        }
    })
    .await
    .unwrap();
    for span in collector.spans() {
        assert_eq!(span.resource["service.namespace"], "trading", "{span:?}");
        assert_eq!(span.resource["mesh.allocation"], "alloc-quotes", "{span:?}");
    }
    envoy.stop(Duration::from_secs(5)).await.unwrap();
}
