//! What it costs to read a journal through `journalctl -o json`, as collectors without a reader of their own do. Nothing is
//! parsed, packed or sent: the real cost is higher.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use tokio::process::Command;

/// What it came to.
pub(super) struct Children {
    pub(super) records_per_second: f64,
    pub(super) cpu_per_million: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of records are far below 2^52")]
pub(super) async fn measure(journal: &Path, entries: u64) -> anyhow::Result<Children> {
    let before = children_cpu()?;
    let begin = Instant::now();
    let mut child = Command::new("/usr/bin/journalctl");
    let child = child.args(["-o", "json", "--all", "--no-pager", "-q", "-D"]).arg(journal);
    let status = child.stdout(Stdio::null()).stdin(Stdio::null()).status().await;
    let status = status.context("cannot run journalctl")?;
    ensure!(status.success(), "journalctl ended with {status}");
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = children_cpu()? - before;
    let entries = entries as f64;
    Ok(Children { records_per_second: entries / seconds, cpu_per_million: cpu * 1e6 / entries })
}

/// CPU of children that ended, seconds.
fn children_cpu() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    // cutime and cstime are the 14th and 15th fields after the name.
    let ticks = fields.split(' ').skip(13).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>().context("/proc/self/stat has an unknown form")? / 100.0)
}
