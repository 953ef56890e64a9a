//! A dozen real exporters, a real Envoy and a real Consul, scraped by a real Prometheus itself and through the relay.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::process::{Process, Program};

use super::harness::{OPENMETRICS, PROTOBUF, Prometheus, Relay, TEXT, client, debian, repository};
use super::protobuf::decode;

/// A real exporter that runs; ends with its value.
struct Real {
    job: &'static str,
    url: String,
    _process: Process,
}

/// Debian's exporters that run without anything beside them, with how each is told its address.
const EXPORTERS: [(&str, &[&str]); 11] = [
    ("prometheus-node-exporter", &["--web.listen-address=ADDRESS"]),
    (
        "prometheus-process-exporter",
        &[
            "--web.listen-address=ADDRESS",
            "--procnames=cargo",
            "--threads=false",
            "--gather-smaps=false",
        ],
    ),
    (
        "prometheus-blackbox-exporter",
        &["--web.listen-address=ADDRESS", "--config.file=FOLDER/blackbox.yml"],
    ),
    ("prometheus-pushgateway", &["--web.listen-address=ADDRESS"]),
    (
        "prometheus-exporter-exporter",
        &["-web.listen-address=ADDRESS", "-config.file=FOLDER/expexp.yml"],
    ),
    ("prometheus-mysqld-exporter", &["--web.listen-address=ADDRESS"]),
    (
        "prometheus-redis-exporter",
        &["-web.listen-address=ADDRESS", "-redis.addr=redis://127.0.0.1:1"],
    ),
    (
        "prometheus-haproxy-exporter",
        &["--web.listen-address=ADDRESS", "--haproxy.scrape-uri=http://127.0.0.1:1/;csv"],
    ),
    (
        "prometheus-apache-exporter",
        &["--telemetry.address=ADDRESS", "--scrape_uri=http://127.0.0.1:1/"],
    ),
    (
        "prometheus-snmp-exporter",
        &["--web.listen-address=ADDRESS", "--config.file=FOLDER/snmp.yml"],
    ),
    (
        "prometheus-bind-exporter",
        &["--web.listen-address=ADDRESS", "--bind.stats-url=http://127.0.0.1:1/"],
    ),
];

fn write_configurations(folder: &Path) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write("blackbox.yml", "modules: {up: {prober: tcp}}\n");
    write("expexp.yml", "modules: {}\n");
    write("snmp.yml", "if_mib: {walk: [1.3.6.1.2.1.2]}\n");
}

async fn start(
    binary: &Path,
    job: &'static str,
    flags: &[&str],
    folder: &Path,
) -> Result<Real, String> {
    let address = SocketAddr::from(([127, 0, 0, 1], lab::ports::reserve().unwrap()));
    let flag = |flag: &&str| {
        flag.replace("ADDRESS", &address.to_string())
            .replace("FOLDER", &folder.display().to_string())
    };
    let program = Program::new(job, binary)
        .args(flags.iter().map(flag))
        .env("DATA_SOURCE_NAME", "exporter:x@(127.0.0.1:1)/");
    let mut process = Process::start(&program, folder).map_err(|error| error.to_string())?;
    let url = format!("http://{address}/metrics");
    let awaited = process.until(job, Duration::from_secs(20), async || {
        let answer = client().get(&url).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
    });
    awaited.await.map_err(|error| lab::chain(&error))?;
    Ok(Real { job, url, _process: process })
}

/// All of them, and Prometheus' own library for Python in OpenMetrics.
async fn exporters(test: &str, folder: &Path) -> Option<Vec<Real>> {
    write_configurations(folder);
    let python = lab::parts::real_part_or_skip(test, "openmetrics")?;
    let mut all = Vec::new();
    for (job, flags) in EXPORTERS {
        let started = start(&debian(test, job)?, job, flags, folder).await;
        all.push(started.unwrap_or_else(|error| panic!("{job}: {error}")));
    }
    let script = repository("tests/judges/openmetrics/exporter.py").display().to_string();
    let started = start(&python, "python", &[&script, "ADDRESS"], folder).await;
    all.push(started.unwrap_or_else(|error| panic!("python: {error}")));
    Some(all)
}

/// A real Envoy whose admin page has the statistics that its statistics listener shows.
async fn envoy(test: &str, folder: &Path) -> Option<Real> {
    let binary: PathBuf = lab::parts::real_part_or_skip(test, "envoy")?;
    let port = lab::ports::reserve().unwrap();
    let address = format!("{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}");
    let text = format!(
        "admin: {{address: {address}}}\nstatic_resources:\n  clusters:\n  - name: orders\n    \
         load_assignment: {{cluster_name: orders, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]}}\n"
    );
    std::fs::write(folder.join("envoy.yaml"), text).unwrap();
    let program = Program::new("envoy", &binary).args([
        "--config-path".to_owned(),
        folder.join("envoy.yaml").display().to_string(),
        "--use-dynamic-base-id".to_owned(),
    ]);
    let mut process = Process::start(&program, folder).unwrap();
    let url = format!("http://127.0.0.1:{port}/stats/prometheus");
    let awaited = process.until("Envoy", Duration::from_secs(20), async || {
        client().get(&url).send().await.map(drop).map_err(|error| error.to_string())
    });
    awaited.await.unwrap();
    Some(Real { job: "envoy", url, _process: process })
}

fn targets(all: &[Real]) -> Vec<(&str, String)> {
    all.iter().map(|real| (real.job, real.url.clone())).collect()
}

/// Names of the series of a job.
async fn names(prometheus: &Prometheus, selector: &str) -> BTreeSet<String> {
    let found = prometheus.query(&format!("count by (__name__) ({{{selector}}})")).await;
    let names = found.iter().map(|(labels, _)| labels["__name__"].as_str().unwrap().to_owned());
    let own = ["up", "scrape_", "mesh_relay_target_"];
    names.filter(|name| !own.iter().any(|own| name.starts_with(own))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_has_through_the_relay_what_it_has_from_each_exporter() {
    let test = "prometheus_has_through_the_relay_what_it_has_from_each_exporter";
    let folder = tempfile::tempdir().unwrap();
    let Some(mut all) = exporters(test, folder.path()).await else { return };
    let Some(envoy) = envoy(test, folder.path()).await else { return };
    all.push(envoy);
    let relay = Relay::start(&targets(&all), |_| {}).await;
    let mut config = format!(
        "- {{job_name: hosts, honor_labels: true, static_configs: [{{targets: ['{}']}}]}}\n",
        relay.address
    );
    for real in &all {
        let (host, path) = real.url.trim_start_matches("http://").split_once('/').unwrap();
        config += &format!(
            "- {{job_name: direct-{}, metrics_path: /{path}, static_configs: [{{targets: ['{host}']}}]}}\n",
            real.job
        );
    }
    let Some(prometheus) = Prometheus::start(test, &config, &[]).await else { return };
    prometheus.query_until("up{job=~\"direct-.*\"} == 1", all.len()).await;
    prometheus.query_until("mesh_relay_target_up == 1", all.len()).await;
    prometheus.query_until("up{job=\"hosts\"} == 1", 1).await;
    for real in &all {
        // On a busy machine a scrape may be late, and a target have no series until the next one.
        let what = format!("{} has the same series both ways", real.job);
        let same = lab::wait::until(&what, Duration::from_secs(60), async || {
            let direct = names(&prometheus, &format!("job=\"direct-{}\"", real.job)).await;
            let relayed = names(&prometheus, &format!("job=\"{}\"", real.job)).await;
            let differ: Vec<_> = direct.symmetric_difference(&relayed).collect();
            if differ.is_empty() && !direct.is_empty() {
                Ok(())
            } else {
                Err(format!("{differ:?}"))
            }
        });
        same.await.unwrap();
    }
    let metadata = prometheus.api("/api/v1/metadata?metric=node_cpu_seconds_total").await;
    assert_eq!(
        metadata["data"]["node_cpu_seconds_total"].as_array().unwrap().len(),
        1,
        "{metadata}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_of_a_host_is_taken_by_its_strictest_reader() {
    let test = "every_format_of_a_host_is_taken_by_its_strictest_reader";
    let folder = tempfile::tempdir().unwrap();
    let Some(mut all) = exporters(test, folder.path()).await else { return };
    let Some(envoy) = envoy(test, folder.path()).await else { return };
    all.push(envoy);
    let (Some(promtool), Some(python)) =
        (debian(test, "promtool"), lab::parts::real_part_or_skip(test, "openmetrics"))
    else {
        return;
    };
    let relay = Relay::start(&targets(&all), |_| {}).await;

    let (_, _, text) = relay.get("/metrics", TEXT).await;
    let outcome = judge(&promtool, &["check", "metrics"], &text);
    // 3: read, with remarks about the exporters' names.
    assert!(matches!(outcome.status.code(), Some(0 | 3)), "{outcome:?}");

    let (_, _, open) = relay.get("/metrics", OPENMETRICS).await;
    let script = repository("tests/judges/openmetrics/check.py").display().to_string();
    let outcome = judge(&python, &[&script], &open);
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));

    let (_, _, body) = relay.get("/metrics", PROTOBUF).await;
    let families = decode(&body);
    let envoy = families.iter().find(|one| one.name.as_deref() == Some("envoy_server_uptime"));
    assert_eq!(envoy.unwrap().metric.len(), 1);
    let up = families.iter().find(|one| one.name.as_deref() == Some("up")).unwrap();
    assert_eq!(up.metric.len(), all.len() + 1);
}

/// What a program says of a body on its standard input.
fn judge(program: &Path, args: &[&str], body: &[u8]) -> std::process::Output {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let body = body.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&body).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}
