//! An instance comes or goes: how soon every stream knows, and what that costs.

use std::time::Duration;

use tokio::time::sleep;

use crate::contender::Contender;
use crate::figures::{Figure, percentile, sorted};
use crate::stage::{DEADLINE, Setup, Stage, seconds};
use crate::usage::cpu_seconds;

/// Events that are made before any is measured.
const WARM_UP: u32 = 2;
/// Between events, so that each is the first change after a quiet moment.
const REST: Duration = Duration::from_millis(300);

/// What a series of events came to.
#[derive(Debug)]
pub struct Series {
    /// Milliseconds of every stream and event, sorted.
    pub latencies: Vec<f64>,
    /// Milliseconds of the last stream of each event, sorted.
    pub last: Vec<f64>,
    /// Bytes of messages for each event and stream.
    pub bytes: f64,
    /// CPU seconds of the server for each event.
    pub cpu: f64,
    /// CPU seconds of Consul for each event.
    pub consul_cpu: f64,
}

/// Makes events on a stage whose fleet is connected.
///
/// # Errors
/// Some stream never learns of one.
pub async fn series(stage: &mut Stage, events: u32) -> anyhow::Result<Series> {
    for _ in 0..WARM_UP {
        stage.flap().await?;
        stage.fleet.board.all(DEADLINE).await?;
        sleep(REST).await;
    }
    let (mut latencies, mut last, mut bytes) = (Vec::new(), Vec::new(), 0.0);
    let before = cpu_seconds(stage.server.id())?;
    let consul_before = cpu_seconds(stage.consul.id())?;
    for _ in 0..events {
        let begin = stage.flap().await?;
        let arrivals = stage.fleet.board.all(DEADLINE).await?;
        sleep(REST).await;
        let mut slowest: f64 = 0.0;
        for arrival in arrivals {
            let latency = seconds(begin, arrival) * 1e3;
            slowest = slowest.max(latency);
            latencies.push(latency);
        }
        last.push(slowest);
        bytes += total(stage.fleet.board.bytes());
    }
    let cpu = cpu_seconds(stage.server.id())? - before;
    let consul_cpu = cpu_seconds(stage.consul.id())? - consul_before;
    let count = f64::from(events);
    Ok(Series {
        latencies: sorted(latencies),
        last: sorted(last),
        bytes: bytes / count / stage.size(),
        cpu: cpu / count,
        consul_cpu: consul_cpu / count,
    })
}

/// The figures of one fleet.
///
/// # Errors
/// A part does not start, or some stream never learns of an event.
pub async fn measure(
    setup: &Setup,
    contender: Contender,
    events: u32,
) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::raise(setup, contender).await?;
    let ramp = stage.connect().await?;
    let series = series(&mut stage, events).await?;
    let name = label(setup);
    let figure = |what: &str, unit, value| {
        let how = format!(
            "{events} events, {} services x {} instances, {}; from before the PUT at Consul's agent to the right EDS on a stream",
            setup.services,
            setup.instances,
            if setup.plain { "Consul over HTTP" } else { "Consul over HTTPS" },
        );
        Figure::new(format!("{what}, {name}"), unit, value, &how)
    };
    let mut figures = vec![
        figure("event p50", "ms", percentile(&series.latencies, 0.5)),
        figure("event p99", "ms", percentile(&series.latencies, 0.99)),
        figure("event max", "ms", percentile(&series.latencies, 1.0)),
        figure("event last stream, median", "ms", percentile(&series.last, 0.5)),
        figure("event bytes per stream", "B", series.bytes),
        figure("event CPU per 1,000 streams", "s", series.cpu * 1000.0 / stage.size()),
        figure("configured, ramp 1,000/s", "s", ramp),
        figure("event CPU of Consul", "s", series.consul_cpu),
    ];
    if setup.upstreams > 0 && setup.streams <= 1000 && !setup.plain {
        figures = with_goals(figures, [30.0, 80.0, f64::NAN, f64::NAN, 512.0, 0.03]);
    } else if setup.upstreams > 0 && setup.streams == 5000 {
        figures = with_goals(figures, [f64::NAN, 300.0, f64::NAN, f64::NAN, 512.0, 0.03]);
    }
    Ok(figures)
}

/// The streams in words.
pub fn label(setup: &Setup) -> String {
    let mode = match setup.mode {
        crate::proxy::Mode::Delta => "delta",
        crate::proxy::Mode::Sotw => "state-of-the-world",
    };
    let upstreams = match setup.upstreams {
        0 => "all services".to_owned(),
        count => format!("{count} upstreams"),
    };
    let plain = if setup.plain { ", plain HTTP" } else { "" };
    format!("{} {mode} streams, {upstreams}{plain}", setup.streams)
}

fn with_goals<const N: usize>(figures: Vec<Figure>, goals: [f64; N]) -> Vec<Figure> {
    let goals = goals.into_iter().chain(std::iter::repeat(f64::NAN));
    let set =
        |(figure, goal): (Figure, f64)| if goal.is_nan() { figure } else { figure.goal(goal) };
    figures.into_iter().zip(goals).map(set).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a run receives far less than 2^52 bytes")]
pub(super) const fn total(bytes: u64) -> f64 {
    bytes as f64
}
