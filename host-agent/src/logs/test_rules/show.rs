//! Entries and outcomes for people: what went in, and below it what came out.
//!
//! ```text
//! 3 ← orders-7f2  {"level":"warn","msg":"slow","took_ms":812}
//!   → central mesh.trading.orders · 2026-11-29T09:30:00.000123Z · warn
//!     message   slow
//!     system    trading
//! ```

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};

use super::Outcome;
use crate::logs::entry::Entry;
use crate::logs::record::{Level, Record, Value};

/// Fields that stand in the heading already.
const IN_HEADING: [&str; 1] = ["level"];
/// Longest message of an entry that is shown.
const LONGEST: usize = 100;

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Whether the terminal has colours.
    pub is_coloured: bool,
}

impl Look {
    fn paint(self, style: Style, text: impl fmt::Display) -> String {
        match self.is_coloured {
            true => format!("{style}{text}{style:#}"),
            false => text.to_string(),
        }
    }

    /// Text that is less important.
    pub(super) fn dim(self, text: impl fmt::Display) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// A word that says all is well.
    pub(super) fn good(self, text: impl fmt::Display) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// Words that say something is not.
    pub(super) fn bad(self, text: impl fmt::Display) -> String {
        self.paint(AnsiColor::Red.on_default(), text)
    }

    /// An entry in one line.
    pub fn entry(self, number: usize, entry: &Entry) -> String {
        let text = |name| entry.fields.get(name).map(String::from_utf8_lossy);
        let writer =
            ["CONTAINER_NAME", "NOMAD_TASK", "_SYSTEMD_UNIT", "SYSLOG_IDENTIFIER", "_COMM"]
                .into_iter()
                .find_map(text)
                .unwrap_or_default();
        let message = text("MESSAGE").unwrap_or_default();
        let mut shown: String = message.chars().take(LONGEST).collect();
        if shown.len() < message.len() {
            shown.push('…');
        }
        self.dim(format!("{number} ← {writer}  {}", visible(&shown)))
    }

    /// An outcome in several lines.
    pub fn outcome(self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::Record { time, destinations, record } => {
                let mut text = String::from("  → ");
                let style = Style::new().bold();
                let tags = destinations
                    .iter()
                    .map(|(name, tag)| format!("{name} {}", self.paint(style, tag)));
                let tags = tags.collect::<Vec<_>>().join(", ");
                let to = if tags.is_empty() { self.warn("no destination") } else { tags };
                text.push_str(&format!("{to} {}", self.dim(format!("· {time}"))));
                if let Some(level) = record.level {
                    text.push_str(&format!(
                        " {} {}",
                        self.dim("·"),
                        self.paint(level_style(level), level)
                    ));
                }
                self.fields(record, &mut text);
                text
            }
            Outcome::Dropped { dropped, entries } => {
                let entries =
                    if *entries == 1 { String::new() } else { format!(" ({entries} entries)") };
                format!("  {} by {dropped}{entries}", self.warn("✗ dropped"))
            }
            Outcome::Lost { lost, writer, reason } => {
                let writer = writer.as_deref().unwrap_or("an unknown writer");
                format!("  {} of {writer} ({reason})", self.warn(format!("! {lost} lines lost")))
            }
        }
    }

    fn fields(self, record: &Record, text: &mut String) {
        let fields = || record.fields().filter(|(name, _)| !IN_HEADING.contains(name));
        let width = fields().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in fields() {
            let padding = " ".repeat(width - name.chars().count());
            let style = AnsiColor::Cyan.on_default();
            let name = self.paint(style, name);
            let value = match value {
                Value::Text(value) => visible(value),
                // Values are plain data: they always have JSON.
                other => serde_json::to_string(&other).unwrap_or_default(),
            };
            let indented = value.replace('\n', &format!("\n    {} ", " ".repeat(width + 1)));
            text.push_str(&format!("\n    {name}{padding}  {indented}"));
        }
    }

    fn warn(self, text: impl fmt::Display) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }
}

fn level_style(level: Level) -> Style {
    match level {
        Level::Trace | Level::Debug => Style::new().dimmed(),
        Level::Info => AnsiColor::Green.on_default(),
        Level::Warn => AnsiColor::Yellow.on_default(),
        Level::Error | Level::Fatal => AnsiColor::Red.on_default().bold(),
    }
}

/// The text with control characters as escapes, but for ends of lines: a log must not move the cursor of who reads it.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            // Writing to a string cannot fail.
            let _written = write!(visible, "{}", c.escape_default());
        } else {
            visible.push(c);
        }
    }
    visible
}
