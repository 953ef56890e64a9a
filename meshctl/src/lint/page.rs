//! The rules as tables of `docs/lint.md`.
//!
//! In: the table of rules. Out: Markdown. Called by the test that holds the page against it.

use std::fmt::Write as _;

use super::rules::{Level, RULES};

/// The tables: one row for each rule.
pub fn tables() -> String {
    let mut page = String::new();
    for (level, title) in [(Level::Error, "Errors"), (Level::Warning, "Warnings")] {
        writeln!(page, "### {title}\n").ok();
        writeln!(page, "| rule | what must hold | why | fix |\n|---|---|---|---|").ok();
        for rule in RULES.iter().filter(|rule| rule.level == level) {
            let cell = |text: &str| text.replace('|', "\\|");
            let (what, why, fix) = (cell(rule.what), cell(rule.why), cell(rule.fix));
            writeln!(page, "| `{}` | {what} | {why} | {fix} |", rule.id).ok();
        }
        page.push('\n');
    }
    page
}
