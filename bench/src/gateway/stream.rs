//! Conversion of a server stream to lines of JSON.

use std::collections::BTreeMap;

use super::load::once;
use super::stage::{Stage, Usage};
use super::way::Way;
use crate::echo::STREAMED_PAYLOAD;
use crate::figures::{Figure, percentile, sorted};

const MESSAGES: u32 = 10_000;
const ROUNDS: u32 = 20;

#[derive(Debug, Clone, Default)]
struct Taken {
    times: Vec<f64>,
    used: Usage,
}

/// Whole streams, one at a time.
///
/// # Errors
/// A stream fails, or has not a line for each message.
pub(super) async fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Figure>> {
    let mut taken: BTreeMap<Way, Taken> = BTreeMap::new();
    for _ in 0..ROUNDS {
        for way in stage.ways() {
            let taken = taken.entry(way).or_default();
            let before = stage.usage(way)?;
            let (body, time) = once(&stage.count(way, MESSAGES)).await?;
            let after = stage.usage(way)?;
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            anyhow::ensure!(lines == MESSAGES as usize, "{way:?} answers {lines} lines");
            taken.times.push(time);
            taken.used.converter += after.converter - before.converter;
            taken.used.all += after.all - before.all;
        }
    }
    for taken in taken.values_mut() {
        taken.times = sorted(std::mem::take(&mut taken.times));
    }
    let how = format!(
        "{ROUNDS} streams each in turn, messages with {STREAMED_PAYLOAD} bytes of payload, lines of JSON"
    );
    let beside = |what: &str, ours: Way, value: &dyn Fn(&Taken) -> f64| {
        let suffix = if ours.is_alone() { ", no Envoy" } else { "" };
        let measured = taken.get(&ours).map(value).unwrap_or_default();
        let name = format!("stream of 10,000, {what}{suffix}");
        let mut figure = Figure::new(name, "ms", measured, &how);
        for (way, taken) in taken.iter().filter(|(way, _)| way.is_alone() == ours.is_alone()) {
            if *way != ours {
                figure.beside(way.name(), value(taken));
            }
        }
        figure
    };
    let each = |used: f64| used * 1e3 / f64::from(ROUNDS);
    let ways = [Way::Ours, Way::OursAlone];
    let mut figures: Vec<Figure> = ways
        .into_iter()
        .flat_map(|way| {
            [
                beside("median", way, &|taken| percentile(&taken.times, 0.5)),
                beside("converter's CPU", way, &|taken| each(taken.used.converter)),
            ]
        })
        .collect();
    figures.push(beside("CPU of converter and Envoy", Way::Ours, &|taken| each(taken.used.all)));
    Ok(figures)
}
