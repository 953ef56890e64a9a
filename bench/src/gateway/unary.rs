//! Conversion of a unary call.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::load::{Load, once};
use super::stage::{Stage, Usage};
use super::way::Way;
use crate::figures::{Figure, percentile, sorted};

const CONNECTIONS: u32 = 16;
const ROUNDS: u32 = 3;

/// A message of this payload, so many times a second.
struct Size {
    payload: usize,
    name: &'static str,
    rate: u32,
}

const SIZES: [Size; 2] = [
    Size { payload: 1000, name: "1 KB", rate: 500 },
    Size { payload: 100_000, name: "100 KB", rate: 100 },
];

/// What one way takes.
#[derive(Debug, Clone, Default)]
struct Taken {
    latencies: Vec<f64>,
    /// Requests without pause, the seconds that they took, and the CPU.
    count: f64,
    elapsed: f64,
    used: Usage,
}

/// Every way, at both sizes.
///
/// # Errors
/// A request fails, or is answered with something else than what was sent.
pub(super) async fn measure(stage: &mut Stage, span: Duration) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for size in &SIZES {
        let mut taken: BTreeMap<Way, Taken> = BTreeMap::new();
        for way in stage.ways() {
            check(stage, way, size.payload).await?;
        }
        for _ in 0..ROUNDS {
            for way in stage.ways() {
                round(stage, way, size, span, taken.entry(way).or_default()).await?;
            }
        }
        let sort = |(way, taken): (Way, Taken)| {
            (way, Taken { latencies: sorted(taken.latencies), ..taken })
        };
        figures.extend(of_size(size, span, &taken.into_iter().map(sort).collect()));
    }
    Ok(figures)
}

async fn check(stage: &Stage, way: Way, payload: usize) -> anyhow::Result<()> {
    let ask = stage.say(way, payload);
    let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes);
    let (sent, answered) = (read(&ask.body)?, read(&once(&ask).await?.0)?);
    anyhow::ensure!(sent == answered, "{way:?} answers {answered} to {sent}");
    Ok(())
}

async fn round(
    stage: &mut Stage,
    way: Way,
    size: &Size,
    span: Duration,
    taken: &mut Taken,
) -> anyhow::Result<()> {
    let ask = stage.say(way, size.payload);
    let paced = Load { connections: CONNECTIONS, rate: Some(size.rate), span };
    taken.latencies.extend(paced.run(&ask).await?.latencies);
    let before = stage.usage(way)?;
    let report = Load { rate: None, ..paced }.run(&ask).await?;
    let after = stage.usage(way)?;
    taken.count += report.count();
    taken.elapsed += report.elapsed;
    taken.used.converter += after.converter - before.converter;
    taken.used.all += after.all - before.all;
    Ok(())
}

fn of_size(size: &Size, span: Duration, taken: &BTreeMap<Way, Taken>) -> Vec<Figure> {
    let name = size.name;
    let paced = format!(
        "POST of a message with {} bytes of payload, {} requests/s on {CONNECTIONS} connections, {ROUNDS} rounds of {span:?} each in turn",
        size.payload, size.rate
    );
    let full = format!("the same on {CONNECTIONS} connections without pause");
    let p50 = |taken: &Taken| percentile(&taken.latencies, 0.5);
    let beside = |what: &str, unit, how: &str, value: &dyn Fn(&Taken) -> f64| {
        let of = |is_alone: bool| {
            let ours = if is_alone { Way::OursAlone } else { Way::Ours };
            let suffix = if is_alone { ", no Envoy" } else { "" };
            let measured = taken.get(&ours).map(value).unwrap_or_default();
            let mut figure = Figure::new(format!("{name}, {what}{suffix}"), unit, measured, how);
            let peers = taken.iter().filter(|(way, _)| **way != ours && way.is_alone() == is_alone);
            for (way, taken) in peers {
                figure.beside(way.name(), value(taken));
            }
            figure
        };
        [of(false), of(true)]
    };
    let cpu = |used: f64, taken: &Taken| used / taken.count * 1e6;
    let mut figures = Vec::new();
    if let (Some(ours), Some(theirs)) = (taken.get(&Way::Ours), taken.get(&Way::Transcoder)) {
        let more = (p50(ours) - p50(theirs)) * 1e3;
        let what = format!("{name}, p50 over Envoy's transcoder's");
        figures.push(Figure::new(what, "µs", more, &paced).goal(200.0));
    }
    figures.extend(beside("p50", "ms", &paced, &p50));
    figures.extend(beside("p99", "ms", &paced, &|taken| percentile(&taken.latencies, 0.99)));
    figures.extend(beside("throughput", "requests/s", &full, &|taken| taken.count / taken.elapsed));
    let converter = beside("converter's CPU of a request", "µs", &full, &|taken| {
        cpu(taken.used.converter, taken)
    });
    figures.extend(converter.map(|figure| {
        let goal = figure.peer.get("grpc-gateway").map(|peer| peer.value);
        goal.into_iter().fold(figure, Figure::goal)
    }));
    let [with_envoy, _] = beside("CPU of a request, converter and Envoy", "µs", &full, &|taken| {
        cpu(taken.used.all, taken)
    });
    figures.push(with_envoy);
    figures
}
