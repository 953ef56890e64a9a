//! Every body that the tests of Prometheus' client library for Python read, judged by that library's parser, by a real
//! Prometheus that scrapes it, and by ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use host_agent::relay::parse::{Exposition, Format, ParseLimits, pairs, parse};
use lab::process::Program;
use serde::Deserialize;

use super::harness::{Exporter, OPENMETRICS, Prometheus, TEXT, repository, said};

/// A body, with what Python's parser makes of it.
#[derive(Deserialize)]
struct Vector {
    format: String,
    body: String,
    error: Option<String>,
    samples: Vec<(String, BTreeMap<String, String>, String, serde_json::Value)>,
}

const LIMITS: ParseLimits = ParseLimits { samples: 10_000, labels: 100, label_bytes: 10_000 };

impl Vector {
    fn is_open(&self) -> bool {
        self.format == "openmetrics"
    }

    fn parsed(&self) -> Result<Exposition, String> {
        let format = if self.is_open() { Format::OpenMetrics } else { Format::Text };
        let body = self.body.as_bytes().to_vec();
        parse(body, format, LIMITS, &[]).map_err(|error| error.to_string())
    }
}

async fn vectors(test: &str) -> Option<Vec<Vector>> {
    let python = lab::parts::real_part_or_skip(test, "openmetrics")?;
    let source = python.parent().unwrap().join("../source");
    let script = repository("tests/judges/openmetrics/vectors.py");
    let program = Program::new("vectors", &python)
        .args([script.display().to_string(), source.display().to_string()]);
    let text = lab::process::run(&program).await.unwrap();
    let vectors: Vec<Vector> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(vectors.len() > 200, "only {} vectors: did the library's tests move?", vectors.len());
    Some(vectors)
}

/// Where ours differs from Python's parser and not from Prometheus: of several samples of one series with timestamps ours
/// keeps the newest, and a comma alone between braces is refused by Prometheus too.
const DEVIATIONS: [&str; 3] = ["0.0000000001", "b 2  1234567890\nb 88", "b{,} 2"];

/// A sample without its timestamp, in an order-free form.
type Seen = (String, BTreeMap<String, String>, String);

fn seen(exposition: &Exposition) -> Vec<Seen> {
    let samples = exposition.samples.iter().map(|sample| {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let labels = pairs(exposition.bytes(sample.labels)).map(|pair| {
            let value = text(pair.value);
            let value = value.replace("\\\\", "\0").replace("\\n", "\n").replace("\\\"", "\"");
            (text(pair.name), value.replace('\0', "\\"))
        });
        let value: f64 = exposition.text(sample.value).parse().unwrap();
        (exposition.text(sample.name).to_owned(), labels.collect(), number(value))
    });
    samples.collect()
}

/// Python's parser of the text format gives every counter the name that it would have in OpenMetrics.
fn as_written(vector: &Vector, name: String) -> String {
    match name.strip_suffix("_total") {
        Some(stem) if !vector.is_open() && !vector.body.contains("_total") => stem.to_owned(),
        _ => name,
    }
}

fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

#[tokio::test]
async fn what_python_s_parser_reads_is_read_the_same() {
    let Some(vectors) = vectors("what_python_s_parser_reads_is_read_the_same").await else {
        return;
    };
    let mut wrong = Vec::new();
    let deviates = |vector: &Vector| DEVIATIONS.iter().any(|part| vector.body.contains(part));
    for vector in vectors.iter().filter(|one| one.error.is_none() && !deviates(one)) {
        let expected: Vec<Seen> = vector
            .samples
            .iter()
            .map(|(name, labels, value, _)| {
                (name.clone(), labels.clone(), number(value.parse().unwrap()))
            })
            .map(|(name, labels, value)| (as_written(vector, name), labels, value))
            .collect();
        match vector.parsed() {
            Ok(exposition) if seen(&exposition) == expected => {}
            Ok(exposition) => wrong.push(format!(
                "{:?}\n  ours {:?}\n  python {expected:?}",
                vector.body,
                seen(&exposition)
            )),
            Err(error) => wrong.push(format!("{:?}\n  {error}", vector.body)),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn prometheus_takes_and_refuses_the_same_bodies() {
    let test = "prometheus_takes_and_refuses_the_same_bodies";
    let Some(vectors) = vectors(test).await else { return };
    let vectors = Arc::new(vectors);
    let served = Arc::clone(&vectors);
    let exporter = Exporter::start(move |uri, _| {
        let nth: usize = uri.path().trim_start_matches('/').parse().unwrap();
        let kind = if served[nth].is_open() { OPENMETRICS } else { TEXT };
        said(kind, served[nth].body.clone())
    })
    .await;
    let mut config = "- job_name: vectors\n  static_configs:\n".to_owned();
    for nth in 0..vectors.len() {
        config += &format!(
            "  - {{targets: ['{}'], labels: {{__metrics_path__: '/{nth}', nth: '{nth}'}}}}\n",
            exporter.address
        );
    }
    let Some(prometheus) = Prometheus::start(test, &config, &[]).await else { return };
    let up = prometheus.query_until("up{job=\"vectors\"}", vectors.len()).await;
    let counts = prometheus.query("scrape_samples_scraped{job=\"vectors\"}").await;
    let by_nth = |all: Vec<(serde_json::Value, String)>| -> BTreeMap<usize, String> {
        let nth = |labels: &serde_json::Value| labels["nth"].as_str().unwrap().parse().unwrap();
        all.into_iter().map(|(labels, value)| (nth(&labels), value)).collect()
    };
    let (up, counts) = (by_nth(up), by_nth(counts));
    let mut wrong = Vec::new();
    for (nth, vector) in vectors.iter().enumerate() {
        let parsed = vector.parsed();
        if (up[&nth] == "1") != parsed.is_ok() {
            let error = parsed.err();
            wrong.push(format!(
                "{} {:?} up={} ours={error:?}",
                vector.format, vector.body, up[&nth]
            ));
        } else if let Ok(exposition) = parsed {
            let ours = exposition.series + exposition.duplicates;
            if counts[&nth] != ours.to_string() {
                wrong.push(format!("{:?} samples={} ours={ours}", vector.body, counts[&nth]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
