//! Parsing, merging and encoding alone, in this process, on one thread; what counts is CPU, so that others do not.

use anyhow::{Context, ensure};
use host_agent::relay::accept::{Accepted, negotiate};
use host_agent::relay::encode::encode;
use host_agent::relay::label::TargetLabels;
use host_agent::relay::merge::{Source, merge};
use host_agent::relay::parse::{Format, ParseLimits, parse};

use super::{LARGE, body};
use crate::figures::Figure;
use crate::usage::cpu_seconds;

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
    for (name, accept) in FORMATS {
        let accepted = negotiate(accept);
        let cost = cpu_ms(rounds, || once(&text, &labels, accepted))?;
        let how =
            "CPU of a round: 100,000 series of text (10 MB) parsed, labelled, merged and written";
        figures.push(
            Figure::new(format!("100,000 series to {name}: CPU"), "ms", cost, how).goal(100.0),
        );
    }
    let cost = cpu_ms(rounds, || {
        let exposition = parse(text.as_bytes().to_vec(), Format::Text, LIMITS, &labels.names())?;
        ensure!(exposition.series == LARGE, "{} series", exposition.series);
        Ok(())
    })?;
    figures.push(Figure::new(
        "100,000 series parsed: CPU",
        "ms",
        cost,
        "the part of it that is parsing",
    ));
    Ok(figures)
}

/// CPU of this process for a round; it does nothing else meanwhile. The kernel counts in steps of 10 ms, so rounds are many.
fn cpu_ms(rounds: u32, mut round: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let rounds = rounds * 5;
    let process = i32::try_from(std::process::id())?;
    round()?;
    let before = cpu_seconds(process)?;
    for _ in 0..rounds {
        round()?;
    }
    Ok((cpu_seconds(process)? - before) * 1e3 / f64::from(rounds))
}

fn once(text: &str, labels: &TargetLabels, accepted: Accepted) -> anyhow::Result<()> {
    let bytes = text.as_bytes().to_vec();
    let exposition = parse(bytes, Format::Text, LIMITS, &labels.names()).context("a body")?;
    let own = parse(Vec::new(), Format::Text, LIMITS, &[]).context("an empty body")?;
    let none = TargetLabels::default();
    let sources =
        [Source { labels: &none, exposition: &own }, Source { labels, exposition: &exposition }];
    let written = encode(&merge(&sources), accepted, false);
    ensure!(exposition.series == LARGE, "{} series", exposition.series);
    ensure!(written.len() > text.len() / 2, "{} bytes", written.len());
    Ok(())
}
