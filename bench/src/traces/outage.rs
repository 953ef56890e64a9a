//! A back end that is away for a minute while an application sends 2,000 spans a second.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use lab::collector::Collector;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::contender::{Agent, Running};
use super::load::Sender;
use crate::figures::Figure;

/// Requests of 100 spans a second.
const RATE: u32 = 20;
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(10);
const HOW: &str = "2,000 spans a second in requests of 100; the back end's port is closed for the time; acknowledged span ids against those that arrived";

pub(super) async fn measure(folder: &Path, away: Duration) -> anyhow::Result<Vec<Figure>> {
    let mut collector = Collector::start().await?;
    let mut agent = Running::start(Agent::Ours, collector.address(), folder).await?;
    let mut sender = Sender::new(agent.address());
    let mut tick = interval(Duration::from_secs(1) / RATE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begin = Instant::now();
    let (mut acknowledged, mut number, mut is_away) = (Vec::new(), 0, false);
    while begin.elapsed() < BEFORE + away + AFTER {
        tick.tick().await;
        let should = (BEFORE..BEFORE + away).contains(&begin.elapsed());
        match (is_away, should) {
            (false, true) => collector.down().await,
            (true, false) => collector.up().await?,
            _ => {}
        }
        is_away = should;
        acknowledged.extend(sender.send_new(number).await?);
        number += 1;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let missing = loop {
        let times = collector.times();
        let missing = acknowledged.iter().filter(|id| !times.contains_key(id)).count();
        if missing == 0 || Instant::now() > deadline {
            break missing;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let repeats: u32 = collector.times().values().map(|times| times - 1).sum();
    let memory = agent.resident_kb()? / 1024.0;
    agent.stop().await?;
    let count = |n: usize| u32::try_from(n).map_or(f64::MAX, f64::from);
    if acknowledged.is_empty() {
        bail!("nothing was acknowledged");
    }
    let what = format!("back end away for {} s at 2,000 spans/s", away.as_secs());
    Ok(vec![
        Figure::new(format!("{what}: acknowledged"), "spans", count(acknowledged.len()), HOW),
        Figure::new(format!("{what}: lost"), "spans", count(missing), HOW).goal(0.0),
        Figure::new(format!("{what}: repeated"), "spans", f64::from(repeats), HOW),
        Figure::new(format!("{what}: resident memory after it"), "MB", memory, HOW),
    ])
}
