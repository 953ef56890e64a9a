//! What was checked and what came of it, as a table whose last line is the sum.

use std::fmt;

use comfy_table::{Table, presets};

use crate::LabError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
        }
    }
}

/// The checks so far, in their order.
#[derive(Debug, Default)]
pub struct Checks {
    rows: Vec<(String, Outcome, String)>,
}

impl Checks {
    /// Takes down a check: `Ok` says what was seen, `Err` what was wrong.
    pub fn record(&mut self, what: &str, result: Result<String, String>) {
        let (outcome, seen) = match result {
            Ok(seen) => (Outcome::Passed, seen),
            Err(wrong) => (Outcome::Failed, wrong),
        };
        self.rows.push((what.to_owned(), outcome, seen));
    }

    /// Takes down a step whose error is a failure.
    pub fn step<T>(&mut self, what: &str, result: Result<T, LabError>) -> Option<T> {
        match result {
            Ok(value) => {
                self.record(what, Ok(String::new()));
                Some(value)
            }
            Err(error) => {
                self.record(what, Err(crate::chain(&error)));
                None
            }
        }
    }

    /// Takes down a check that this machine cannot make.
    pub fn skip(&mut self, what: &str, why: &str) {
        self.rows.push((what.to_owned(), Outcome::Skipped, why.to_owned()));
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.count(Outcome::Failed)
    }

    fn count(&self, wanted: Outcome) -> usize {
        self.rows.iter().filter(|(_, outcome, _)| *outcome == wanted).count()
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["check", "", "seen"]);
        for (what, outcome, seen) in &self.rows {
            table.add_row([what.as_str(), outcome.word(), seen.as_str()]);
        }
        let count = |outcome| self.count(outcome);
        write!(
            f,
            "{table}\n{} passed, {} failed, {} skipped",
            count(Outcome::Passed),
            count(Outcome::Failed),
            count(Outcome::Skipped)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum() {
        let mut checks = Checks::default();
        checks.record("requests pass", Ok("200".to_owned()));
        checks.record("nothing is lost", Err("3 lost".to_owned()));
        checks.skip("Consul restarts", "no Consul here");
        let text = checks.to_string();
        assert_eq!(text.lines().last(), Some("1 passed, 1 failed, 1 skipped"));
        assert!(text.contains("FAILED") && text.contains("3 lost"), "{text}");
    }
}
