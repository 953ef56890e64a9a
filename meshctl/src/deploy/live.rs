//! The table at the foot of the terminal: what is awaited, and every instance.
//!
//! In: a [`Frame`], the width. Out: lines, none longer than the terminal is wide. Pure.

use super::decide::Step;
use super::diff::Palette;
use super::instance::Instance;
use super::record::Record;
use super::view::{View, short};
use crate::console::age;

const SPINNER: [&str; 4] = ["⠋", "⠙", "⠴", "⠦"];
/// Instances shown at most; the others are counted.
const ROWS: usize = 12;

/// What is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frame {
    /// What is awaited.
    what: String,
    /// Instances that are not long gone.
    rows: Vec<Instance>,
    /// The version that comes, to tell it from the old.
    version: Option<u64>,
}

impl Frame {
    /// The frame of what is observed and decided.
    pub fn of(record: &Record, view: &View, step: &Step) -> Self {
        let version = record.state.version();
        // Of those that are over only the new version's tell something.
        let is_shown =
            |own: &&nomad::Allocation| !own.is_over() || Some(own.job_version) == version;
        let what = match step {
            Step::Wait { what, .. } => what.clone(),
            Step::AskMesh(_) => "every proxy is asked".to_owned(),
            Step::Measure { .. } => "the sidecars are asked".to_owned(),
            _ => String::new(),
        };
        let rows = view.allocations.iter().filter(is_shown).map(Instance::from).collect();
        Self { what, rows, version }
    }
}

/// The lines of the table.
pub fn block(frame: &Frame, clock: &str, now: u64, turn: usize, width: u16) -> Vec<String> {
    let palette = Palette::new(true);
    let Palette { yellow, bold, dim, plain, .. } = palette;
    let width = usize::from(width.max(20));
    let mut lines = Vec::new();
    if !frame.what.is_empty() {
        let spinner = SPINNER.get(turn % SPINNER.len()).copied().unwrap_or_default();
        let what = cut(&frame.what, width.saturating_sub(8));
        lines.push(format!("{dim}{clock}{plain} {yellow}{spinner}{plain} {bold}{what}{plain}"));
    }
    if frame.rows.is_empty() {
        return lines;
    }
    let heads = ["INSTANCE", "VERSION", "TRACK", "HEALTH", "NODE", "AGE", "TASKS"];
    let cells = |own: &Instance| {
        [
            short(&own.id).to_owned(),
            own.version.to_string(),
            own.track.to_owned(),
            own.health.to_owned(),
            own.node.clone(),
            if own.since == 0 { "-".to_owned() } else { age(now.saturating_sub(own.since)) },
            own.tasks.clone(),
        ]
    };
    let shown: Vec<(&Instance, [String; 7])> =
        frame.rows.iter().take(ROWS).map(|own| (own, cells(own))).collect();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let longest = shown.iter().filter_map(|(_, row)| row.get(at));
            longest.map(|cell| cell.chars().count()).max().unwrap_or_default().max(head.len())
        })
        .collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cut(padded.join("  ").trim_end(), width.saturating_sub(6))
    };
    lines.push(String::new());
    lines.push(format!("      {dim}{}{plain}", line(&heads.map(str::to_owned))));
    for (own, cells) in &shown {
        let is_new = Some(own.version) == frame.version;
        let weight = if is_new { bold } else { "" };
        let color = color(own.health, &palette);
        lines.push(format!("      {weight}{color}{}{plain}", line(cells)));
    }
    if frame.rows.len() > shown.len() {
        lines.push(format!("      {dim}and {} more{plain}", frame.rows.len() - shown.len()));
    }
    lines
}

fn color(health: &str, palette: &Palette) -> &'static str {
    match health {
        "healthy" | "running" => palette.green,
        "failed" | "unhealthy" | "lost" => palette.red,
        "starting" => palette.yellow,
        _ => palette.dim,
    }
}

/// At most so many characters; what is cut off is seen to be.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, version: u64, track: &'static str, health: &'static str) -> Instance {
        Instance {
            id: id.to_owned(),
            group: "web".to_owned(),
            version,
            track,
            health,
            node: "client-1".to_owned(),
            tasks: "app running; envoy running".to_owned(),
            since: 1_000,
        }
    }

    /// What is seen, without the colours.
    fn seen(lines: &[String]) -> Vec<String> {
        let plain = |line: &String| {
            let mut parts = line.split('\x1b');
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| {
                text + part.split_once('m').map_or(part, |(_, rest)| rest)
            })
        };
        lines.iter().map(plain).collect()
    }

    #[test]
    fn the_table_says_what_is_awaited_and_how_each_instance_is() {
        let rows = vec![
            row("0123456789ab", 5, "canary", "starting"),
            row("89abcdef0123", 4, "stable", "healthy"),
        ];
        let frame = Frame { what: "1 of 2 is healthy".to_owned(), rows, version: Some(5) };
        assert_eq!(
            seen(&block(&frame, "00:07", 1_060, 0, 90)),
            [
                "00:07 ⠋ 1 of 2 is healthy",
                "",
                "      INSTANCE  VERSION  TRACK   HEALTH    NODE      AGE  TASKS",
                "      01234567  5        canary  starting  client-1  1m   app running; envoy running",
                "      89abcdef  4        stable  healthy   client-1  1m   app running; envoy running",
            ]
        );
    }

    #[test]
    fn no_line_is_longer_than_the_terminal_is_wide_and_many_instances_are_counted() {
        let rows = (0..20).map(|_| row("0123456789ab", 5, "stable", "healthy")).collect();
        let what = "proxy a lacks it; proxy b lacks it; proxy c lacks it".to_owned();
        let lines = seen(&block(&Frame { what, rows, version: None }, "00:07", 1_060, 1, 40));
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:#?}");
        assert_eq!(lines.first().unwrap(), "00:07 ⠙ proxy a lacks it; proxy b lacks…");
        assert_eq!(lines.last().unwrap(), "      and 8 more");
    }
}
