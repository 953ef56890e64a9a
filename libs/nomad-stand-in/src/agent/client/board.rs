//! What the tasks of one allocation say about themselves, for the runner to act on and to report.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::agent::state::{TaskEvent, TaskState};
use crate::agent::store::now;

/// States of tasks, with a bell.
#[derive(Debug)]
pub(super) struct Board {
    states: Mutex<BTreeMap<String, TaskState>>,
    bell: watch::Sender<()>,
}

impl Board {
    pub(super) fn new(states: BTreeMap<String, TaskState>) -> Self {
        Self { states: Mutex::new(states), bell: watch::channel(()).0 }
    }

    /// Rings with every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.bell.subscribe()
    }

    /// All tasks now.
    pub(super) fn states(&self) -> BTreeMap<String, TaskState> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One task now.
    pub(super) fn state(&self, task: &str) -> TaskState {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.get(task).cloned().unwrap_or_default()
    }

    /// Changes a task's state.
    pub(super) fn change(&self, task: &str, change: impl FnOnce(&mut TaskState)) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        change(states.entry(task.to_owned()).or_default());
        drop(states);
        self.bell.send_replace(());
    }

    /// Adds an event to a task.
    pub(super) fn event(&self, task: &str, kind: &str, message: impl Into<String>) {
        let event = TaskEvent::new(kind, message, now());
        self.change(task, |state| state.record(event));
    }
}
