//! Every proxy loses its stream and comes back at once: with nothing changed, and with one instance changed.

use std::time::Duration;

use lab::wait;

use crate::board::Goal;
use crate::contender::Contender;
use crate::figures::Figure;
use crate::scenario::event::total;
use crate::stage::{DEADLINE, Setup, Stage, seconds};
use crate::usage::cpu_seconds;

/// How long the server may take to notice that all have left.
const LEAVE_DEADLINE: Duration = Duration::from_secs(60);
/// Files that a server without proxies has open at most.
const FEW_FILES: usize = 400;

/// Both storms.
///
/// # Errors
/// A part does not start, or some stream never comes back.
pub async fn measure(setup: &Setup, contender: Contender) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::raise(setup, contender).await?;
    stage.connect().await?;
    let mut figures = Vec::new();

    leave(&mut stage).await?;
    let board = stage.fleet.board.clone();
    board.expect(Goal::Accepted);
    let (begin, cpu) = (board.now(), cpu_seconds(stage.server.id())?);
    stage.fleet.connect(stage.server.xds, None).await;
    board.all(DEADLINE).await?;
    let end = stage.settle().await;
    let cpu = cpu_seconds(stage.server.id())? - cpu;
    let how = "all connect at once with what they hold; until the last byte to any of them";
    let name = |what: &str, case: &str| format!("{what}, {} streams, {case}", setup.streams);
    let same = "nothing changed";
    figures
        .push(Figure::new(name("reconnect storm", same), "s", seconds(begin, end), how).goal(5.0));
    let bytes = total(board.bytes()) / stage.size();
    figures
        .push(Figure::new(name("reconnect bytes per stream", same), "B", bytes, how).goal(1024.0));
    let each = cpu * 1e3 / stage.size();
    figures.push(Figure::new(name("reconnect CPU per stream", same), "ms", each, how));

    leave(&mut stage).await?;
    stage.flap().await?;
    // Consul's answer reaches the server while nobody is connected.
    stage.settle().await;
    let begin = board.now();
    stage.fleet.connect(stage.server.xds, None).await;
    let arrivals = board.all(DEADLINE).await?;
    let end = arrivals.into_iter().max().unwrap_or(begin);
    stage.settle().await;
    let how = "as above, one instance added in between; until the right EDS is on the last stream";
    let other = "one instance changed";
    figures
        .push(Figure::new(name("reconnect storm", other), "s", seconds(begin, end), how).goal(5.0));
    let bytes = total(board.bytes()) / stage.size();
    figures
        .push(Figure::new(name("reconnect bytes per stream", other), "B", bytes, how).goal(1024.0));
    Ok(figures)
}

/// All leave, and the server has noticed.
async fn leave(stage: &mut Stage) -> anyhow::Result<()> {
    stage.fleet.disconnect().await;
    let folder = format!("/proc/{}/fd", stage.server.id());
    wait::until("the server has closed its streams", LEAVE_DEADLINE, async || {
        let open = std::fs::read_dir(&folder).map_err(|error| error.to_string())?.count();
        if open < FEW_FILES { Ok(()) } else { Err(format!("{open} files are open")) }
    })
    .await?;
    stage.server.check()
}
