//! What the monitoring team gets: the scrape configuration, the alert rules, the dashboard, and the page that explains them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::process::{Process, Program};

use super::harness::{Exporter, Prometheus, Relay, TEXT, client, debian, repository};

#[test]
fn promtool_takes_the_configuration_and_the_rules_do_what_their_tests_say() {
    let test = "promtool_takes_the_configuration_and_the_rules_do_what_their_tests_say";
    let Some(promtool) = debian(test, "promtool") else { return };
    let folder = repository("monitoring");
    for args in [
        ["check", "config", "--syntax-only", "prometheus.yml"].as_slice(),
        &["check", "rules", "alerts.yml"],
        &["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new(&promtool).args(args).current_dir(&folder).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

/// Every query of the dashboard and of the alert rules, with Grafana's variables filled in.
fn queries() -> Vec<String> {
    let dashboard = std::fs::read_to_string(repository("monitoring/grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let rules = std::fs::read_to_string(repository("monitoring/alerts.yml")).unwrap();
    let rules = rules.replace("expr: |\n     ", "expr:").replace("\n        / ", " / ");
    let rules: Vec<String> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr:").map(|query| query.trim().to_owned()))
        .collect();
    assert!(rules.len() >= 12, "{rules:?}");
    let all = queries.chain(rules);
    all.map(|query| query.replace("$__rate_interval", "1m").replace("$system", ".*")).collect()
}

/// Names of metrics in the first column of a document's tables.
fn documented(path: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository(path)).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names = names.map(|(name, _)| name.to_owned());
    names
        .filter(|name| (name.starts_with("mesh_") && name != "mesh_system") || name == "up")
        .collect()
}

/// The words of a query that are names of metrics.
fn names(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_label = |word: &str| query.contains(&format!("{word}=")) || word == "mesh_system";
    words
        .filter(|word| word.starts_with("mesh_") || word.starts_with("envoy_") || *word == "up")
        .filter(|word| !is_label(word))
        .map(str::to_owned)
        .collect()
}

/// What a real Envoy calls its statistics after a request has passed it.
async fn envoy_names(test: &str, folder: &Path) -> Option<BTreeSet<String>> {
    let binary = lab::parts::real_part_or_skip(test, "envoy")?;
    let upstream = Exporter::saying(TEXT, "a 1\n").await;
    let (admin, listen) = (lab::ports::reserve().unwrap(), lab::ports::reserve().unwrap());
    let address =
        |port: u16| format!("{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}");
    let text = format!(
        "admin: {{address: {admin}}}\nstatic_resources:\n  listeners:\n  - address: {listen}\n    filter_chains:\n    - filters:\n      \
         - name: http\n        typed_config:\n          \
         \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          \
         stat_prefix: in\n          http_filters:\n          - name: router\n            typed_config: \
         {{\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}\n          \
         route_config: {{virtual_hosts: [{{name: all, domains: [\"*\"], routes: [{{match: {{prefix: /}}, route: {{cluster: orders}}}}]}}]}}\n  \
         clusters:\n  - name: orders\n    load_assignment: {{cluster_name: orders, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {up}}}}}]}}]}}\n",
        admin = address(admin),
        listen = address(listen),
        up = address(upstream.address.port()),
    );
    std::fs::write(folder.join("envoy.yaml"), text).unwrap();
    let program = Program::new("envoy", &binary).args([
        "--config-path".to_owned(),
        folder.join("envoy.yaml").display().to_string(),
        "--use-dynamic-base-id".to_owned(),
    ]);
    let mut process = Process::start(&program, folder).unwrap();
    let stats = format!("http://127.0.0.1:{admin}/stats/prometheus");
    let awaited = process.until("a request has passed", Duration::from_secs(20), async || {
        let asked = client().get(format!("http://127.0.0.1:{listen}/")).send().await;
        asked.map_err(|error| error.to_string())?;
        let text = client().get(&stats).send().await.map_err(|error| error.to_string())?;
        let text = text.text().await.map_err(|error| error.to_string())?;
        // Histograms are gathered every few seconds.
        if text.contains("envoy_cluster_upstream_rq_time_bucket{") { Ok(text) } else { Err(text) }
    });
    let text = awaited.await.unwrap();
    let names = text.lines().filter_map(|line| line.split(['{', ' ']).next());
    Some(names.map(str::to_owned).collect())
}

#[tokio::test]
async fn queries_are_promql_and_name_what_exists() {
    let test = "queries_are_promql_and_name_what_exists";
    let folder = tempfile::tempdir().unwrap();
    let Some(envoy) = envoy_names(test, folder.path()).await else { return };
    let Some(prometheus) = Prometheus::start(test, "", &[]).await else { return };
    let mut known = documented("docs/metrics.md");
    known.extend(documented("docs/monitoring.md"));
    known.extend(envoy);
    for query in queries() {
        let asked = format!("/api/v1/query?query={}", encoded(&query));
        let answer = prometheus.api(&asked).await;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        for name in names(&query) {
            let stem = name.trim_end_matches("_bucket");
            assert!(known.contains(&name) || known.contains(stem), "{query}: {name} is unknown");
        }
    }
}

/// A query as part of a URL.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[tokio::test]
async fn every_metric_of_the_relay_is_documented_and_every_documented_one_exists() {
    let good =
        Exporter::saying(TEXT, "# TYPE a gauge\na 1\na 2\nb 1\n# TYPE a counter\na{c=\"1\"} 1\n")
            .await;
    let bad = Exporter::saying(TEXT, "a one\n").await;
    let relay = Relay::start(&[("good", good.url()), ("bad", bad.url())], |_| {}).await;
    let (one, _) = tokio::join!(relay.text(), relay.text());
    let mut text = one;
    text += &relay.own();
    let mut found: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(|name| name.trim_end_matches("_bucket").trim_end_matches("_sum"))
        .map(|name| name.trim_end_matches("_count").to_owned())
        .filter(|name| name.starts_with("mesh_") || name == "up")
        .collect();
    found.extend(["", "_read", "_stale_seconds"].map(|end| format!("mesh_agent_instances{end}")));
    assert_eq!(found, documented("docs/monitoring.md"));
}
