//! What the relay itself says of its targets, as a text body: it takes the same way as theirs.
//!
//! In: the outcome for each target. Out: an [`Exposition`] whose series carry the target's labels already.

use std::fmt::Write as _;
use std::sync::Arc;

use super::flight::Outcome;
use super::parse::{Exposition, Format, ParseError, ParseLimits, parse};

/// How the names of these series begin; `up` beside them.
pub const PREFIX: &[u8] = b"mesh_relay_target_";

/// The series of all targets; `has_up`: one called `up` too.
///
/// # Errors
/// None, as long as what is written here is in the text format.
pub fn exposition(outcomes: &[Arc<Outcome>], has_up: bool) -> Result<Exposition, ParseError> {
    let mut text = String::new();
    if has_up {
        family(&mut text, outcomes, "up", UP_HELP, |outcome| {
            Some((None, f64::from(outcome.is_up())))
        });
    }
    family(&mut text, outcomes, "mesh_relay_target_up", UP_HELP, |outcome| {
        Some((None, f64::from(outcome.is_up())))
    });
    let help = "Time that asking and reading the target took";
    family(&mut text, outcomes, "mesh_relay_target_scrape_duration_seconds", help, |outcome| {
        Some((None, outcome.duration.as_secs_f64()))
    });
    let help = "Samples that the target gave, duplicates left out";
    family(&mut text, outcomes, "mesh_relay_target_samples", help, |outcome| {
        let series = outcome.result.as_ref().map_or(0, |scraped| scraped.exposition.series);
        Some((None, f64::from(u32::try_from(series).unwrap_or(u32::MAX))))
    });
    let help = "1 for what the target's scrape failed with";
    family(&mut text, outcomes, "mesh_relay_target_error", help, |outcome| {
        outcome.result.as_ref().err().map(|failure| (Some(failure.class().as_str()), 1.0))
    });
    let limits = ParseLimits { samples: usize::MAX, labels: usize::MAX, label_bytes: usize::MAX };
    parse(text.into_bytes(), Format::Text, limits, &[])
}

const UP_HELP: &str = "Whether the target could be scraped (1) or not (0)";

fn family(
    text: &mut String,
    outcomes: &[Arc<Outcome>],
    name: &str,
    help: &str,
    value: impl Fn(&Outcome) -> Option<(Option<&'static str>, f64)>,
) {
    let mut lines = String::new();
    for outcome in outcomes {
        let Some((class, value)) = value(outcome) else { continue };
        let labels = std::str::from_utf8(outcome.target.labels.text()).unwrap_or_default();
        let class = class.map(|class| format!(",class=\"{class}\"")).unwrap_or_default();
        // Writing to a string does not fail.
        writeln!(lines, "{name}{{{labels}{class}}} {value}").ok();
    }
    if !lines.is_empty() {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{}", lines.trim_end()).ok();
    }
}
