//! What a connected proxy costs in resident memory.

use crate::contender::Contender;
use crate::figures::Figure;
use crate::stage::{Setup, Stage};
use crate::usage::resident_kb;

/// Resident memory for each of the fleet's streams, at rest.
///
/// # Errors
/// A part does not start, or some stream is never configured.
pub async fn measure(setup: &Setup, contender: Contender) -> anyhow::Result<Vec<Figure>> {
    let mut stage = Stage::raise(setup, contender).await?;
    stage.settle().await;
    let before = resident_kb(stage.server.id())?;
    stage.connect().await?;
    let after = resident_kb(stage.server.id())?;
    let how = "VmRSS once all are configured and nothing moves, less VmRSS before the first, divided by streams";
    let name = format!("RSS per stream, {} streams", setup.streams);
    Ok(vec![Figure::new(name, "KB", (after - before) / stage.size(), how).goal(60.0)])
}
