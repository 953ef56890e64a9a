//! The exact shape of `[logs.shape]` and `[[logs.rules]]`, and of the conditions that routes share with rules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::logs::record::Level;

/// `[logs.shape]`: what holds for all records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawShape {
    /// Longest wait for the next fragment of a line that Docker split.
    pub partial_timeout_ms: u64,
    /// Longest message; what exceeds it is cut and marked.
    pub max_message_bytes: usize,
    /// All that waits for its continuation, together; what exceeds it is sent unfinished, oldest first.
    pub max_open_bytes: usize,
    /// Longest wait for Consul to know the allocation of a new line; 0: none.
    pub consul_wait_ms: u64,
    /// Fields to send that are left out otherwise: names, or beginnings followed by `*`. The longest pattern decides.
    pub keep: Vec<String>,
    /// Fields not to send, written in the same way.
    pub leave_out: Vec<String>,
    /// Other names for fields.
    pub rename: BTreeMap<String, String>,
    /// Fields with the same value in every record.
    pub set: BTreeMap<String, String>,
    /// What becomes of lines that are JSON objects.
    pub json: RawJson,
    /// Whether the first word of a line may say its level.
    pub level_word: bool,
    /// Whether colour codes are taken out of messages.
    pub strip_colours: bool,
    /// Whether gaps in Docker's ordinals count as losses; off where a filter of the reader makes gaps itself.
    pub count_ordinals: bool,
}

impl Default for RawShape {
    fn default() -> Self {
        Self {
            partial_timeout_ms: 5_000,
            max_message_bytes: 1024 * 1024,
            max_open_bytes: 16 * 1024 * 1024,
            consul_wait_ms: 2_000,
            keep: vec![],
            leave_out: vec![],
            rename: BTreeMap::new(),
            set: BTreeMap::new(),
            json: RawJson::Merge,
            level_word: false,
            strip_colours: true,
            count_ordinals: true,
        }
    }
}

/// What becomes of a line that is a JSON object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawJson {
    /// It stays text.
    Off,
    /// Its keys become fields beside the platform's.
    #[default]
    Merge,
    /// It becomes one field of this name.
    Under(String),
}

/// One of `[[logs.rules]]`. All rules whose conditions hold apply, in order, until one drops the record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRule {
    /// Names it in marks, metrics and messages.
    pub name: String,
    /// All of these must hold.
    pub when: RawWhen,
    /// The rule does not apply where all of these hold.
    pub unless: RawWhen,
    /// Lines that belong together; the first rule that says it decides.
    pub multiline: Option<RawMultiline>,
    /// As in `[logs.shape]`; the first rule that says it decides.
    pub json: Option<RawJson>,
    /// As in `[logs.shape]`; the first rule that says it decides.
    pub level_word: Option<bool>,
    /// Patterns whose matches are replaced by `[NAME]`, the rule's name, in all texts of the record.
    pub redact: Vec<String>,
    /// Fields to add or replace.
    pub set: BTreeMap<String, String>,
    /// Fields to take out.
    pub remove: Vec<String>,
    /// Fields to rename.
    pub rename: BTreeMap<String, String>,
    /// Drop the record.
    pub drop: bool,
    /// Keep one record of so many.
    pub keep_one_in: Option<u32>,
}

/// Lines that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RawMultiline {
    /// `java`, `go` or `python`.
    Preset(String),
    /// In detail.
    Table(RawLines),
}

/// Lines that belong together, in detail: a preset or the pattern of a first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLines {
    /// `java`, `go` or `python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// A line that matches begins a record; all others continue it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_line: Option<String>,
    /// Longest wait for the next line.
    #[serde(default = "line_timeout")]
    pub timeout_ms: u64,
    /// Most lines of a record.
    #[serde(default = "line_count")]
    pub max_lines: u32,
}

pub(super) const fn line_timeout() -> u64 {
    500
}

pub(super) const fn line_count() -> u32 {
    1_000
}

/// Conditions. What is absent from a record fulfils none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawWhen {
    /// The System: names, `*` standing for any characters.
    pub system: Option<Patterns>,
    /// The service.
    pub service: Option<Patterns>,
    /// `stable` or `canary`.
    pub track: Option<Patterns>,
    /// The allocation's id.
    pub instance: Option<Patterns>,
    /// Nomad's namespace.
    pub namespace: Option<Patterns>,
    /// Nomad's job.
    pub job: Option<Patterns>,
    /// Nomad's task group.
    pub group: Option<Patterns>,
    /// Nomad's task.
    pub task: Option<Patterns>,
    /// The container's name.
    pub container: Option<Patterns>,
    /// The container's image.
    pub image: Option<Patterns>,
    /// The host.
    pub host: Option<Patterns>,
    /// The systemd unit.
    pub unit: Option<Patterns>,
    /// What the program calls itself.
    pub identifier: Option<Patterns>,
    /// `stdout` or `stderr`.
    pub stream: Option<Patterns>,
    /// Fields of the journal by their own names, sent or not: regular expressions.
    pub journal: BTreeMap<String, String>,
    /// Fields of the record, `a.b` for a key in a map: regular expressions.
    pub fields: BTreeMap<String, String>,
    /// The message: a regular expression.
    pub message: Option<String>,
    /// This level or graver.
    pub min_level: Option<Level>,
    /// This level or less grave.
    pub max_level: Option<Level>,
}

/// One pattern or several, of which one must match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Patterns {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Patterns {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(pattern) => std::slice::from_ref(pattern),
            Self::Several(patterns) => patterns,
        }
    }
}
