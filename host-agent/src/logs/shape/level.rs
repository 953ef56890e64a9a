//! A record's level from syslog's priority or the first words of a line. (From JSON: [`super::json`].)

use crate::logs::entry::Fields;
use crate::logs::record::Level;
use crate::logs::shape::fields::{Known, Scan};

/// Words of a line that may be its level: date, time, thread and logger come before it at the most.
const WORDS: usize = 5;
/// Bytes of a line in which it is looked for.
const HEAD: usize = 128;

/// What syslog's severities are called (RFC 5424 section 6.2.1).
const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// The level and what it was called, from `PRIORITY` where that means something: Docker's only tells the streams apart, and
/// what systemd reads from a service's standard output is 6 unless the line says otherwise.
pub(super) fn from_priority(scan: &Scan, fields: &Fields) -> Option<(Level, &'static str)> {
    if scan.get(fields, Known::ContainerId).is_some() {
        return None;
    }
    let priority = scan.number(fields, Known::Priority)?;
    if priority == 6 && scan.get(fields, Known::Transport) == Some(b"stdout") {
        return None;
    }
    let name = SEVERITIES.get(usize::try_from(priority).ok()?)?;
    Some((Level::from_syslog(priority)?, name))
}

/// The level that the first words of a line say, and the word: `INFO`, `[warn]`, `error:`, `level=info`.
///
/// A word in lower case counts only in brackets, before a colon or after `level=`, so that ordinary sentences say nothing.
pub(super) fn from_words(line: &str) -> Option<(Level, &str)> {
    let head = line.get(..line.floor_char_boundary(HEAD))?;
    head.split_ascii_whitespace().take(WORDS).find_map(|word| {
        let labelled = word.split_once('=').and_then(|(key, value)| {
            matches!(key, "level" | "lvl" | "severity" | "log.level").then_some(value)
        });
        let is_between = |c: char| !c.is_ascii_alphanumeric();
        if let Some(value) = labelled {
            let value = value.trim_matches(is_between);
            return Some((Level::from_word(value)?, value));
        }
        // Python's `INFO:root:text`.
        let is_led = word.starts_with(['[', '<', '(', '|']) || word.contains(':');
        let bare = word.trim_start_matches(is_between).split(is_between).next()?;
        let is_loud = bare.bytes().all(|byte| byte.is_ascii_uppercase());
        Level::from_word(bare).filter(|_| is_led || is_loud).map(|level| (level, bare))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_its_level_only_where_it_means_to() {
        for (line, expected) in [
            ("INFO starting", Some((Level::Info, "INFO"))),
            ("[warn] low", Some((Level::Warn, "warn"))),
            ("error: no such file", Some((Level::Error, "error"))),
            ("2026-11-29 09:30:00,123 [main] ERROR c.e.App - boom", Some((Level::Error, "ERROR"))),
            ("ts=1 level=\"info\" msg=x", Some((Level::Info, "info"))),
            ("WARNING:root:text", Some((Level::Warn, "WARNING"))),
            ("everything is fine here", None),
            ("no error in sight", None),
            ("one two three four five ERROR", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(from_words(line), expected, "{line}");
        }
    }
}
