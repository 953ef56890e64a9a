//! Measures how many spans a second of CPU carries through an agent: host-agent beside rotel and the OpenTelemetry collector, on
//! the same requests.
//!
//! ```text
//!  senders (OTLP by gRPC, requests made beforehand) ─▶ contender ─▶ OTLP by gRPC, gzip ─▶ a sink that counts spans
//! ```
//!
//! In: how many requests. Out: figures. `fleet traces` is the program. CPU time is the contender's own, from `/proc`, from the
//! first request until the sink has every span; all contenders batch to at most 8192 spans, compress with gzip and run on the
//! same two cores as senders and sink. They take turns in rounds, so that what else happens on the machine is everybody's.
//!
//! **Invariants**: every span sent must arrive, or there is no figure.

use std::time::Duration;

use crate::figures::{self, Figure};

mod contender;
mod load;
mod outage;
mod sink;

use contender::{Agent, Running};
use load::Load;
use sink::Sink;

/// Rounds of each contender.
const ROUNDS: u32 = 5;

/// Measures; a round sends so many requests of 100 spans, and the back end is away for so long in the end.
///
/// # Errors
/// A part is missing, does not start or loses spans.
pub async fn measure(requests: u32, away: Duration) -> anyhow::Result<Vec<Figure>> {
    let load = Load::new(requests);
    let folder = tempfile::tempdir()?;
    let mut results: Vec<(Agent, Vec<f64>, Vec<f64>)> = Vec::new();
    let mut running = Vec::new();
    for agent in Agent::all() {
        let sink = Sink::start().await?;
        running.push((Running::start(agent, sink.address(), folder.path()).await?, sink));
        results.push((agent, Vec::new(), Vec::new()));
    }
    for _ in 0..ROUNDS {
        for ((contender, sink), (_, rates, walls)) in running.iter_mut().zip(&mut results) {
            let before = contender.cpu()?;
            let took = load.send(contender.address(), sink, Duration::from_secs(120)).await?;
            let cpu = contender.cpu()? - before;
            rates.push(load.spans() / cpu);
            walls.push(load.spans() / took.as_secs_f64());
        }
    }
    let mut memory = Vec::new();
    for (contender, _) in &mut running {
        memory.push(contender.resident_kb()? / 1024.0);
        contender.stop().await?;
    }
    let mut figures = report(&results, &memory);
    let folder = tempfile::tempdir()?;
    figures.extend(outage::measure(folder.path(), away).await?);
    Ok(figures)
}

const HOW: &str = "100 spans of about 330 bytes in a request, OTLP by gRPC in and out, gzip out, batches of 8192; CPU of the process from /proc; median of 5 rounds in turns";

/// Smaller is better in figures with a goal, so the main one is the CPU time of a million spans.
fn report(results: &[(Agent, Vec<f64>, Vec<f64>)], memory: &[f64]) -> Vec<Figure> {
    let median = |values: &Vec<f64>| figures::percentile(&figures::sorted(values.clone()), 0.5);
    let cost = |rates: &Vec<f64>| 1e6 / median(rates);
    let mut figures = Vec::new();
    for ((agent, rates, walls), memory) in results.iter().zip(memory) {
        if agent.is_peer() {
            continue;
        }
        let name = agent.name();
        let peers = || results.iter().filter(|(agent, ..)| agent.is_peer());
        let best = peers().map(|(_, rates, _)| cost(rates)).reduce(f64::min);
        let mut main =
            Figure::new(format!("CPU of a million spans, {name}"), "s", cost(rates), HOW);
        if let Some(best) = best {
            main = main.goal(best);
        }
        let mut rate =
            Figure::new(format!("spans for a second of CPU, {name}"), "spans", median(rates), HOW);
        let mut wall = Figure::new(
            format!("spans a second, all on two cores, {name}"),
            "spans/s",
            median(walls),
            HOW,
        );
        for (peer, rates, walls) in peers() {
            main.beside(peer.name(), cost(rates));
            rate.beside(peer.name(), median(rates));
            wall.beside(peer.name(), median(walls));
        }
        figures.extend([main, rate, wall]);
        figures.push(Figure::new(format!("resident memory after it, {name}"), "MB", *memory, HOW));
    }
    for ((agent, ..), memory) in
        results.iter().zip(memory).filter(|((agent, ..), _)| agent.is_peer())
    {
        for figure in figures.iter_mut().filter(|figure| figure.name.starts_with("resident")) {
            figure.beside(agent.name(), *memory);
        }
    }
    figures
}
