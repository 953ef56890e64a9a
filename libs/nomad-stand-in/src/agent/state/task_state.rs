//! Tasks of an allocation: whether they run, and what happened to them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agent::job::Nanos;
use crate::agent::time::{NEVER, rfc3339};

/// Whether a task runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TaskPhase {
    Pending,
    Running,
    Dead,
}

/// A task of an allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TaskState {
    pub(crate) state: TaskPhase,
    pub(crate) failed: bool,
    pub(crate) restarts: u64,
    pub(crate) last_restart: String,
    pub(crate) started_at: String,
    pub(crate) finished_at: String,
    pub(crate) events: Vec<TaskEvent>,
}

impl Default for TaskState {
    fn default() -> Self {
        let never = || NEVER.to_owned();
        Self {
            state: TaskPhase::Pending,
            failed: false,
            restarts: 0,
            last_restart: never(),
            started_at: never(),
            finished_at: never(),
            events: Vec::new(),
        }
    }
}

/// The last events of a task that are kept, as in Nomad.
const EVENTS_MAX: usize = 10;

impl TaskState {
    /// Adds an event, and lets the oldest go.
    pub(crate) fn record(&mut self, event: TaskEvent) {
        self.events.push(event);
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
    }

    pub(crate) fn started(&mut self, now: Nanos) {
        self.state = TaskPhase::Running;
        self.started_at = rfc3339(now);
    }

    pub(crate) fn finished(&mut self, failed: bool, now: Nanos) {
        self.state = TaskPhase::Dead;
        self.failed |= failed;
        self.finished_at = rfc3339(now);
    }

    /// Whether it ran to a good end.
    pub(crate) fn succeeded(&self) -> bool {
        self.state == TaskPhase::Dead && !self.failed
    }
}

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TaskEvent {
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    pub(crate) time: Nanos,
    pub(crate) message: String,
    pub(crate) display_message: String,
    pub(crate) details: BTreeMap<String, String>,
    pub(crate) fails_task: bool,
    pub(crate) exit_code: i32,
    pub(crate) signal: i32,
}

impl TaskEvent {
    /// An event as people read it.
    pub(crate) fn new(kind: &str, message: impl Into<String>, now: Nanos) -> Self {
        Self {
            kind: kind.to_owned(),
            time: now,
            message: String::new(),
            display_message: message.into(),
            details: BTreeMap::new(),
            fails_task: false,
            exit_code: 0,
            signal: 0,
        }
    }

    #[must_use]
    pub(crate) fn detail(mut self, key: &str, value: impl ToString) -> Self {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }

    #[must_use]
    pub(crate) fn failing(mut self) -> Self {
        self.fails_task = true;
        self.detail("fails_task", true)
    }
}
