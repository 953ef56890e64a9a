//! Stage 5: merged families → the bytes that the caller accepts. Pure.
//!
//! A series keeps its name, labels and value in every format. What a format cannot say is left out: text has no units, no
//! exemplars and no infos (they are gauges there); OpenMetrics has no counters whose names do not end in `_total` (their TYPE
//! is `unknown` there); only protobuf has native histograms, of which the text formats get sum and count.
//!
//! **Invariants**: nothing is copied twice; what is usual costs no allocation for a sample.

mod group;
mod name;
mod proto;
mod render;
mod text;

use super::accept::{Accepted, Encoding};
use super::merge::Merged;

/// Writes all families. `has_timestamps`: those of the targets are passed on.
pub fn encode(merged: &Merged<'_>, accepted: Accepted, has_timestamps: bool) -> Vec<u8> {
    let capacity = merged.sources.iter().map(|source| {
        let labels = source.labels.text().len() + 4;
        source.exposition.size_of_body() + source.exposition.series * labels
    });
    let out = Vec::with_capacity(capacity.sum::<usize>() + 64);
    match accepted.encoding {
        Encoding::Protobuf => proto::encode(merged, accepted.escaping, has_timestamps, out),
        Encoding::Text { .. } => {
            text::encode(merged, false, accepted.escaping, has_timestamps, out)
        }
        Encoding::OpenMetrics { .. } => {
            text::encode(merged, true, accepted.escaping, has_timestamps, out)
        }
    }
}

#[cfg(test)]
mod tests;
