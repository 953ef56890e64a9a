//! From exec to the first stream fully configured.

use anyhow::Context;

use crate::board::Goal;
use crate::contender::{Contender, Server};
use crate::figures::{Figure, percentile, sorted};
use crate::fleet::Fleet;
use crate::stage::{DEADLINE, Setup, nodes, seconds, start_consul};
use crate::usage::cpu_seconds;

/// The median of several starts, each with an empty data folder.
///
/// # Errors
/// A part does not start, or a stream is never configured.
pub async fn measure(
    setup: &Setup,
    contender: Contender,
    starts: u32,
) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::tempdir().context("cannot make a folder")?;
    let consul = start_consul(&dir, setup, contender).await?;
    let one = Setup { streams: 1, ..setup.clone() };
    let mut times = Vec::new();
    let consul_before = cpu_seconds(consul.id())?;
    for start in 0..starts {
        let mut fleet = Fleet::new(setup.mode, nodes(&one)?);
        fleet.board.expect(Goal::Configured);
        let begin = fleet.board.now();
        let name = format!("server-{start}");
        let mut server = Server::start(contender, &name, dir.path(), &consul, !setup.plain)?;
        fleet.connect(server.xds, None).await;
        let arrivals = fleet.board.all(DEADLINE).await;
        server.check()?;
        let end = arrivals?.into_iter().max().unwrap_or(begin);
        times.push(seconds(begin, end));
        fleet.disconnect().await;
    }
    let consul_cpu = (cpu_seconds(consul.id())? - consul_before) / f64::from(starts.max(1));
    let times = sorted(times);
    let transport = if setup.plain { "HTTP" } else { "HTTPS" };
    let size = format!("{} x {}", setup.services, setup.instances);
    let how = format!(
        "median of {starts} starts with an empty data folder, tried again every 5 ms; slowest {:.2} s",
        percentile(&times, 1.0)
    );
    let name = format!("cold start, {size}, Consul over {transport}");
    let consul = format!("CPU of Consul for it, {transport}");
    Ok(vec![
        Figure::new(name, "s", percentile(&times, 0.5), &how).goal(0.8),
        Figure::new(consul, "s", consul_cpu, "mean of the same starts"),
    ])
}
