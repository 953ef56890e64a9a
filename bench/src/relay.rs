//! Measures the host agent's relay of metrics: parsing and encoding alone, and a whole host scraped through it, beside
//! Prometheus scraping the host's exporters itself and Debian's exporter_exporter in front of them.
//!
//! ```text
//!  50 exporters ◀─ relay ◀─ one request           the same 50 ◀─ exporter_exporter ◀─ 50 requests
//!                       ◀─ Prometheus             the same 50 ◀─ Prometheus
//! ```
//!
//! **Invariants**: every exporter is asked anew in each round; every answer must have every series.

mod body;
mod core;
mod host;
mod peers;

use crate::figures::Figure;

pub use body::body;

/// Exporters of the host that is scraped.
pub const EXPORTERS: usize = 50;
/// Series of each.
pub const SERIES: usize = 2_000;
/// Series of the large one.
pub const LARGE: usize = 100_000;

/// Measures everything; `rounds` scrapes each.
///
/// # Errors
/// A part is missing or does not start, or an answer lacks series.
pub async fn measure(rounds: u32) -> anyhow::Result<Vec<Figure>> {
    let mut figures = core::measure(rounds)?;
    figures.extend(host::measure(rounds).await?);
    Ok(figures)
}
