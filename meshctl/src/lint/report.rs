//! What was found, for people and for programs.
//!
//! In: a file with its findings. Out: text, or JSON. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::rules::{Level, Rule};
use super::source::Source;

/// A finding with everything that a reader needs.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, from one.
    pub line: usize,
    /// The rule's id.
    pub rule: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is there.
    pub message: String,
    /// What happens because of it.
    pub why: &'static str,
    /// What to write instead.
    pub fix: &'static str,
    /// The line's text.
    pub text: String,
    /// Why it does not count, where a comment says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silenced: Option<String>,
}

impl Finding {
    /// A finding of a rule in a file.
    pub fn of(rule: &'static Rule, source: &Source, line: usize, message: String) -> Self {
        Self {
            file: source.name.clone(),
            line,
            rule: rule.id,
            level: rule.level,
            message,
            why: rule.why,
            fix: rule.fix,
            text: source.line(line).to_owned(),
            silenced: None,
        }
    }
}

/// How a report is written.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// With colours.
    pub has_color: bool,
    /// Columns; texts are wrapped to fit.
    pub width: usize,
}

/// The report for people; one line for a file without findings.
pub fn text(files: &[(String, Vec<Finding>)], style: Style) -> String {
    let mut out = String::new();
    let (mut errors, mut warnings, mut silenced) = (0, 0, 0);
    for (file, findings) in files {
        for finding in findings {
            match (&finding.silenced, finding.level) {
                (Some(_), _) => {
                    silenced += 1;
                    continue;
                }
                (None, Level::Error) => errors += 1,
                (None, Level::Warning) => warnings += 1,
            }
            write_finding(&mut out, finding, style);
        }
        if findings.iter().all(|finding| finding.silenced.is_some()) {
            let silenced = findings.len();
            let rest = if silenced == 0 { String::new() } else { format!(", {silenced} silenced") };
            writeln!(out, "{file}: nothing found{rest}").ok();
        }
    }
    if errors + warnings > 0 {
        let of = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        writeln!(
            out,
            "{}, {}, {silenced} silenced in {}",
            of(errors, "error"),
            of(warnings, "warning"),
            of(files.len(), "file")
        )
        .ok();
    }
    out
}

fn write_finding(out: &mut String, finding: &Finding, style: Style) {
    let (color, word) = match finding.level {
        Level::Error => ("\u{1b}[1;31m", "error"),
        Level::Warning => ("\u{1b}[1;33m", "warning"),
    };
    let (bold, dim, plain) =
        if style.has_color { ("\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m") } else { ("", "", "") };
    let color = if style.has_color { color } else { "" };
    let Finding { file, line, rule, message, why, fix, text, .. } = finding;
    writeln!(out, "{file}:{line}: {color}{word}[{rule}]{plain} {bold}{message}{plain}").ok();
    writeln!(out, "  {dim}{line:>4} |{plain} {}", text.trim_end()).ok();
    for (label, sentence) in [("why", why), ("fix", fix)] {
        for (index, part) in wrapped(sentence, style.width.saturating_sub(7)).iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            writeln!(out, "  {dim}{label:<4}{plain} {part}").ok();
        }
    }
    out.push('\n');
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
