//! The System's document changes so that every cluster of every proxy does.

use crate::board::Goal;
use crate::consul::{SYSTEM, service_name};
use crate::contender::Contender;
use crate::figures::{Figure, percentile, sorted};
use crate::stage::{DEADLINE, Setup, Stage, seconds};
use crate::usage::cpu_seconds;

/// How long until every proxy has every cluster and its endpoints anew.
///
/// # Errors
/// A part does not start, or some stream never gets all.
pub async fn measure(
    setup: &Setup,
    contender: Contender,
    changes: u32,
) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::raise(setup, contender).await?;
    stage.connect().await?;
    let clusters = if setup.upstreams == 0 { setup.services } else { setup.upstreams };
    let board = stage.fleet.board.clone();
    let mut times = Vec::new();
    let mut cpu = cpu_seconds(stage.server.id())?;
    for change in 0..=changes {
        board.expect(Goal::Clusters(clusters));
        let begin = board.now();
        stage.consul.put_document(document(setup.services, change)).await?;
        let arrivals = board.all(DEADLINE).await?;
        let end = arrivals.into_iter().max().unwrap_or(begin);
        stage.settle().await;
        // The first change also brings the document into being.
        if change == 0 {
            cpu = cpu_seconds(stage.server.id())?;
        } else {
            times.push(seconds(begin, end));
        }
    }
    let cpu = (cpu_seconds(stage.server.id())? - cpu) / f64::from(changes.max(1));
    let times = sorted(times);
    let how = format!(
        "{changes} writes of the document that change the connect timeout of all {} services; until the last proxy has all its clusters and their endpoints",
        setup.services
    );
    let name = format!("every cluster changes, {} streams", setup.streams);
    Ok(vec![
        Figure::new(name.clone(), "s", percentile(&times, 0.5), &how).goal(1.0),
        Figure::new(format!("{name}, CPU"), "s", cpu, &how),
    ])
}

fn document(services: usize, change: u32) -> String {
    let mut text = format!("kind: System\nname: {SYSTEM}\nservices:\n");
    for service in 0..services {
        let timeout = 3 + change % 2;
        text += &format!("  {}: {{connect_timeout: {timeout}s}}\n", service_name(service));
    }
    text
}
