//! Catching up: everything that a journal on disk holds, from the start of the process to the last acknowledgement.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use lab::forward_receiver::{Behaviour, ForwardReceiver, Keep};

use super::agent;
use crate::figures::{Figure, percentile, sorted};
use crate::usage;

const DEADLINE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(10);
/// How often memory is looked at: reading `smaps` costs the process time.
const MEMORY_LOOKS: u32 = 20;

struct Run {
    records_per_second: f64,
    cpu_per_million: f64,
    peak_mb: f64,
    own_mb: f64,
}

/// The median of some runs.
pub(super) async fn measure(
    journal: &Path,
    entries: u64,
    runs: u32,
    folder: &Path,
) -> anyhow::Result<Vec<Figure>> {
    let mut all = Vec::new();
    for number in 0..runs {
        all.push(run(journal, entries, number, folder).await?);
    }
    let median = |value: fn(&Run) -> f64| percentile(&sorted(all.iter().map(value).collect()), 0.5);
    let how = format!(
        "{entries} Docker-like entries of 28 fields in journal files, gzip, acknowledged; median of {runs} runs"
    );
    Ok(vec![
        Figure::new("catching up", "records/s", median(|run| run.records_per_second), &how)
            .at_least(100_000.0),
        Figure::new("CPU of a million records", "s", median(|run| run.cpu_per_million), &how)
            .goal(12.0),
        Figure::new("peak RSS", "MB", median(|run| run.peak_mb), &how),
        Figure::new("peak RSS beyond mapped journals", "MB", median(|run| run.own_mb), &how)
            .goal(60.0),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
async fn run(journal: &Path, entries: u64, number: u32, folder: &Path) -> anyhow::Result<Run> {
    let behaviour = Behaviour { keep: Keep::Numbers, ..Behaviour::default() };
    let receiver = ForwardReceiver::start(behaviour).await?;
    let name = format!("catch-up-{number}");
    let keys = format!("directory = {journal:?}\nbegin = \"hours\"\nbegin_hours = 1000000");
    let begin = Instant::now();
    let mut process = agent::start(&name, folder, &keys, receiver.address())?;
    let (mut looks, mut peak, mut own) = (0_u32, 0.0_f64, 0.0_f64);
    while receiver.records() < entries {
        process.check()?;
        ensure!(begin.elapsed() < DEADLINE, "{} of {entries} records arrived", receiver.records());
        tokio::time::sleep(LOOK).await;
        looks += 1;
        if looks % MEMORY_LOOKS == 0 {
            let (all, without_journals) = agent::resident_kb(process.id())?;
            (peak, own) = (peak.max(all), own.max(without_journals));
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = usage::cpu_seconds(process.id())?;
    let received = receiver.records();
    ensure!(received == entries, "{received} records arrived of {entries}");
    process.stop(Duration::from_secs(20)).await?;
    Ok(Run {
        records_per_second: entries as f64 / seconds,
        cpu_per_million: cpu * 1e6 / entries as f64,
        peak_mb: peak / 1024.0,
        own_mb: own / 1024.0,
    })
}
