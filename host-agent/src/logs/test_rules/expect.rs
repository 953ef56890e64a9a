//! Outcomes against what was expected.
//!
//! An expectation says only what matters: its keys must be in the outcome with equal values, in maps as well, and a `null`
//! says that there is none. Lists are equal as a whole. Expectations and outcomes stand for each other in order, each for one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::input::{self, InputError};
use super::{Outcome, Trial, instances};

/// One of `[[logs.tests]]`: what rules and routes must make of entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTest {
    /// What it shows.
    pub name: String,
    /// Entries as `journalctl -o json --all` prints them, one a line.
    pub entries: String,
    /// Who is who: allocation → `SYSTEM/SERVICE`, with `/canary` after it for a canary.
    pub instances: BTreeMap<String, String>,
    /// What must come out, as `host-agent test-rules -o json` prints it, one object a line; keys that do not matter are left
    /// out, `null` says that there is no such key.
    pub expect: String,
}

/// Why a test could not be run.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// An entry is none.
    #[error("its entries cannot be read")]
    Input(#[from] InputError),
    /// An instance is none.
    #[error("its instances cannot be read: {0}")]
    Instances(String),
    /// An expectation is none.
    #[error("line {line} of `expect` is no JSON")]
    Expect {
        /// Which line, from 1.
        line: usize,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
}

impl RawTest {
    /// Runs the test: every difference, in words; none is good.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn run(&self, trial: &Trial<'_>) -> Result<Vec<String>, TestError> {
        let entries = lines(&self.entries).map(|(number, line)| input::entry(line, number));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let given = self.instances.iter().map(|(id, who)| (id.as_str(), who.as_str()));
        let instances = instances(given).map_err(TestError::Instances)?;
        let expected = expectations(&self.expect)?;
        let outcomes: Vec<Outcome> =
            trial.run(&entries, &instances).into_iter().flatten().collect();
        Ok(differences(&expected, &outcomes))
    }
}

/// Reads expectations, one object a line.
///
/// # Errors
/// When a line is no JSON.
pub fn expectations(text: &str) -> Result<Vec<Value>, TestError> {
    lines(text)
        .map(|(line, text)| {
            serde_json::from_str(text).map_err(|source| TestError::Expect { line, source })
        })
        .collect()
}

/// Lines that hold something, with their numbers from 1.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// How outcomes differ from what was expected.
pub fn differences(expected: &[Value], outcomes: &[Outcome]) -> Vec<String> {
    let mut differences = Vec::new();
    for (number, pair) in (1..).zip(pairs(expected, outcomes)) {
        match pair {
            (Some(expected), Some(actual)) => {
                compare(&format!("{number}"), expected, Some(&actual), &mut differences);
            }
            (Some(expected), None) => differences.push(format!("{number}: missing: {expected}")),
            (None, Some(actual)) => differences.push(format!("{number}: not expected: {actual}")),
            (None, None) => {}
        }
    }
    differences
}

fn pairs<'e>(
    expected: &'e [Value],
    outcomes: &[Outcome],
) -> impl Iterator<Item = (Option<&'e Value>, Option<Value>)> {
    let longest = expected.len().max(outcomes.len());
    // An outcome is plain data: its value always exists.
    let value = |outcome: &Outcome| serde_json::to_value(outcome).unwrap_or_default();
    let values: Vec<Value> = outcomes.iter().map(value).collect();
    (0..longest).map(move |at| (expected.get(at), values.get(at).cloned()))
}

fn compare(path: &str, expected: &Value, actual: Option<&Value>, differences: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Null, None) => {}
        (Value::Object(expected), Some(Value::Object(actual))) => {
            for (key, expected) in expected {
                compare(&format!("{path}.{key}"), expected, actual.get(key), differences);
            }
        }
        (expected, Some(actual)) if expected == actual => {}
        (Value::Null, Some(actual)) => {
            differences.push(format!("{path}: expected none, got {actual}"))
        }
        (expected, Some(actual)) => {
            differences.push(format!("{path}: expected {expected}, got {actual}"));
        }
        (expected, None) => differences.push(format!("{path}: expected {expected}, got none")),
    }
}
