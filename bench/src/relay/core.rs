//! Parsing, merging and encoding alone, in this process, on one thread.

use std::time::Instant;

use anyhow::{Context, ensure};
use host_agent::relay::accept::{Accepted, negotiate};
use host_agent::relay::encode::encode;
use host_agent::relay::label::TargetLabels;
use host_agent::relay::merge::{Source, merge};
use host_agent::relay::parse::{Format, ParseLimits, parse};

use super::{LARGE, body};
use crate::figures::{Figure, percentile, sorted};

const LIMITS: ParseLimits = ParseLimits { samples: 1 << 20, labels: 64, label_bytes: 4096 };

/// The formats that are written, with what asks for them.
const FORMATS: [(&str, &str); 3] = [
    ("text", "text/plain;version=0.0.4"),
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    (
        "protobuf",
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
    ),
];

pub(super) fn measure(rounds: u32) -> anyhow::Result<Vec<Figure>> {
    let text = body(LARGE, 1);
    let labels = [
        ("job", "orders"),
        ("instance", "10.0.0.5:31234"),
        ("mesh_system", "trading"),
        ("service", "orders"),
        ("alloc", "6f1c5c1e-0000-4000-8000-000000000001"),
        ("node", "host-17"),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let labels = TargetLabels::new(labels.into_iter().collect());
    let mut figures = Vec::new();
    let mut parsing = Vec::new();
    for (name, accept) in FORMATS {
        let mut spent = Vec::new();
        for _ in 0..rounds {
            let (parsed, all) = once(&text, &labels, negotiate(accept))?;
            parsing.push(parsed);
            spent.push(all);
        }
        let median = percentile(&sorted(spent), 0.5);
        let how = "median of the rounds: 100,000 series of text (10 MB) parsed, labelled, merged and written, one thread";
        figures
            .push(Figure::new(format!("100,000 series to {name}"), "ms", median, how).goal(100.0));
    }
    let median = percentile(&sorted(parsing), 0.5);
    let how = "the part of it that is parsing";
    figures.push(Figure::new("100,000 series parsed", "ms", median, how));
    Ok(figures)
}

/// Milliseconds for parsing, and for all.
fn once(text: &str, labels: &TargetLabels, accepted: Accepted) -> anyhow::Result<(f64, f64)> {
    let bytes = text.as_bytes().to_vec();
    let begun = Instant::now();
    let exposition = parse(bytes, Format::Text, LIMITS, &labels.names()).context("a body")?;
    let parsed = begun.elapsed();
    let own = parse(Vec::new(), Format::Text, LIMITS, &[]).context("an empty body")?;
    let none = TargetLabels::default();
    let sources =
        [Source { labels: &none, exposition: &own }, Source { labels, exposition: &exposition }];
    let written = encode(&merge(&sources), accepted, false);
    let all = begun.elapsed();
    ensure!(exposition.series == LARGE, "{} series", exposition.series);
    ensure!(written.len() > text.len() / 2, "{} bytes", written.len());
    Ok((parsed.as_secs_f64() * 1e3, all.as_secs_f64() * 1e3))
}
