//! Measures the host-agent's logs: a journal on disk is caught up with, and a steady stream is followed.
//!
//! ```text
//!  journal files ─▶ host-agent ─▶ receiver that acknowledges    catching up: records/s, CPU, memory
//!  writer ─▶ journald ─▶ host-agent ─▶ receiver                 steady: age at the receiver, CPU
//!  journal files ─▶ journalctl -o json                          what reading by a child process costs
//! ```
//!
//! In: how many entries. Out: figures. `fleet logs` is the program.
//!
//! **Invariants**: every record is acknowledged and counted; the receiver alone is measured in the same run, so that it is
//! seen not to be the limit. Needs root and Debian's systemd for the journals.

use std::path::Path;

use anyhow::Context;

use crate::figures::Figure;

mod agent;
mod baseline;
mod catch_up;
mod fixture;
mod receiver;
mod steady;

/// How much is measured.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Size {
    /// Entries that are caught up with.
    #[arg(long, default_value_t = 300_000)]
    entries: u64,
    /// Runs of catching up, of which the median counts.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Records a second of the steady stream.
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// Seconds of the steady stream.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Measures all of it; `cache` keeps the journal between runs.
///
/// # Errors
/// A part is missing or fails, or a record is lost.
pub async fn measure(size: Size, cache: &Path) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let journal = fixture::journal(cache, size.entries).await?;
    let mut figures = catch_up::measure(&journal, size.entries, size.runs, folder.path()).await?;
    let children = baseline::measure(&journal, size.entries).await?;
    if let Some(rate) = figures.first_mut() {
        rate.beside("journalctl -o json", children.records_per_second);
    }
    if let Some(cpu) = figures.get_mut(1) {
        cpu.beside("journalctl -o json", children.cpu_per_million);
    }
    figures.push(receiver::alone(size.entries).await?);
    figures.extend(steady::measure(size.rate, size.seconds, folder.path()).await?);
    Ok(figures)
}
