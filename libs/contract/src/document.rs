//! Text → [`SystemDocument`], or everything that is wrong with it, by line and key path.
//!
//! In: a document's text as an operator wrote it. Out: the document, or all [`DocumentProblem`]s: YAML syntax
//! (`yaml.rs`), the published schema (`shape.rs`), then what only a person would see (`rules.rs`).
//! Called by `meshctl apply` before it writes, and by the control plane for what others wrote.
//!
//! **Invariants**: no text makes it panic or take unbounded time or memory; parts with a wrong shape do not hide
//! problems of the others; whether services exist is a separate question ([`check_services`]), because only a registry
//! can answer it.

use std::collections::BTreeSet;
use std::fmt;

use crate::name::ServiceName;
use crate::system::SystemDocument;

mod rules;
mod shape;
mod yaml;

use yaml::Node;

/// The largest document: what Consul's KV takes as one value.
pub const MAX_BYTES: usize = 512 * 1024;

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentProblem {
    /// Line, from 1.
    pub line: usize,
    /// Key path, such as `routes[2].timeout`; empty for the document as a whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for DocumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "{}: {}", self.line, self.message),
            path => write!(f, "{}: {path}: {}", self.line, self.message),
        }
    }
}

/// One step of a key path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Where in a document something is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct KeyPath(Vec<Step>);

impl KeyPath {
    fn of(key: &str) -> Self {
        Self::default().key(key)
    }

    fn key(mut self, key: &str) -> Self {
        self.0.push(Step::Key(key.to_owned()));
        self
    }

    fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.is_empty() || key.contains(['.', '[', ' ']) => {
                    write!(f, "[{key:?}]")?;
                }
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Collects problems and finds the line of each.
struct Findings<'a> {
    root: &'a Node,
    problems: Vec<DocumentProblem>,
}

impl Findings<'_> {
    fn add(&mut self, path: &KeyPath, message: impl Into<String>) {
        self.problems.push(DocumentProblem {
            line: self.root.line_of(&path.0),
            path: path.to_string(),
            message: message.into(),
        });
    }

    fn into_sorted(mut self) -> Vec<DocumentProblem> {
        self.problems.sort();
        self.problems.dedup();
        self.problems
    }
}

/// Reads a document; `expected_name` is the last part of its key or its file's stem.
///
/// # Errors
/// All problems, in the order of their lines.
pub fn parse(
    text: &str,
    expected_name: Option<&str>,
) -> Result<SystemDocument, Vec<DocumentProblem>> {
    let root = yaml::read(text)?;
    let json = root.to_json();
    let mut findings = Findings { root: &root, problems: Vec::new() };
    shape::check(&json, &mut findings);
    rules::check(&json, expected_name, &mut findings);
    let problems = findings.into_sorted();
    if !problems.is_empty() {
        return Err(problems);
    }
    serde_json::from_value(json).map_err(|error| {
        vec![DocumentProblem { line: 1, path: String::new(), message: error.to_string() }]
    })
}

/// [`parse`] for bytes that may not be text.
///
/// # Errors
/// As [`parse`]; bytes that are not UTF-8 are a problem of the line that holds the first such byte.
pub fn parse_bytes(
    bytes: &[u8],
    expected_name: Option<&str>,
) -> Result<SystemDocument, Vec<DocumentProblem>> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let message = "not UTF-8 text: save the file as UTF-8".to_owned();
        vec![DocumentProblem { line, path: String::new(), message }]
    })?;
    parse(text, expected_name)
}

/// Names of services in the document that `known` does not have; `text` is what the document was parsed from.
pub fn check_services(
    text: &str,
    document: &SystemDocument,
    known: &BTreeSet<ServiceName>,
) -> Vec<DocumentProblem> {
    let Ok(root) = yaml::read(text) else { return Vec::new() };
    let mut findings = Findings { root: &root, problems: Vec::new() };
    rules::check_services(document, known, &mut findings);
    findings.into_sorted()
}

/// What may be meant otherwise, although it can work; `text` is what the document was parsed from.
pub fn check_doubts(text: &str, document: &SystemDocument) -> Vec<DocumentProblem> {
    let Ok(root) = yaml::read(text) else { return Vec::new() };
    let mut findings = Findings { root: &root, problems: Vec::new() };
    rules::check_doubts(document, &mut findings);
    findings.into_sorted()
}

#[cfg(test)]
mod tests;
