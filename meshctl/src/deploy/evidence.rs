//! Why an instance failed: what Nomad saw of its tasks, and what they wrote last.
//!
//! In: an allocation, Nomad's logs. Out: [`Evidence`], read before anything is taken away.
//!
//! **Invariants**: no evidence is not an error: a log that cannot be read is said to be so.

use std::fmt::Write as _;
use std::time::Duration;

use nomad::{Allocation, LogOrigin, LogRequest, LogStream, NomadClient};
use serde::Serialize;
use service::ErrorChain;

use super::decide::{ailment, is_given_up};
use super::view::{View, short};

/// Lines of a task's output that are shown.
const LINES: usize = 10;
/// Bytes from which they are taken.
const BYTES: u64 = 8 * 1024;
/// How long a log may take: a way back does not wait for a host that is gone.
const DEADLINE: Duration = Duration::from_secs(3);
/// Instances that are looked into.
const INSTANCES: usize = 2;

/// What is known of a failed instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The allocation.
    pub instance: String,
    /// Its host.
    pub node: String,
    /// What is the matter, in a line.
    pub ailment: String,
    /// The tasks that matter.
    pub tasks: Vec<TaskEvidence>,
}

/// What is known of one of its tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskEvidence {
    /// Its name.
    pub name: String,
    /// `pending`, `running` or `dead`.
    pub state: String,
    /// Whether it ended badly.
    pub failed: bool,
    /// What happened to it, oldest first.
    pub events: Vec<String>,
    /// What it wrote last, standard error before standard output.
    pub log: Vec<String>,
}

impl Evidence {
    /// For people; lines without an end.
    pub fn text(&self) -> String {
        let Self { instance, node, ailment, tasks } = self;
        let mut text = format!("instance {} on {node} {ailment}", short(instance));
        // Writing to a String cannot fail.
        for TaskEvidence { name, state, events, log, .. } in tasks {
            write!(text, "\n  task {name} ({state})").unwrap_or_default();
            for event in events {
                write!(text, "\n    {event}").unwrap_or_default();
            }
            for line in log {
                write!(text, "\n    | {line}").unwrap_or_default();
            }
        }
        text
    }
}

/// Looks into the first instances of a version that were given up.
pub async fn collect(nomad: &NomadClient, view: &View, version: u64) -> Vec<Evidence> {
    let mut all = Vec::new();
    for own in view.of_version(version).filter(|own| is_given_up(own)).take(INSTANCES) {
        let mut tasks = Vec::new();
        let has_failed = own.task_states.values().any(|task| task.failed);
        for (name, task) in &own.task_states {
            // Of an instance that is merely not healthy every task may be the reason.
            if has_failed && !task.failed {
                continue;
            }
            let event = |event: &nomad::TaskEvent| match event.display_message.as_str() {
                "" => event.kind.clone(),
                message => format!("{}: {message}", event.kind),
            };
            tasks.push(TaskEvidence {
                name: name.clone(),
                state: task.state.clone(),
                failed: task.failed,
                events: task.events.iter().map(event).collect(),
                log: log(nomad, own, name).await,
            });
        }
        all.push(Evidence {
            instance: own.id.clone(),
            node: own.node_name.clone(),
            ailment: ailment(own),
            tasks,
        });
    }
    all
}

/// The last lines of both outputs.
async fn log(nomad: &NomadClient, own: &Allocation, task: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for stream in [LogStream::Stderr, LogStream::Stdout] {
        let request =
            LogRequest { allocation: &own.id, task, stream, origin: LogOrigin::End, offset: BYTES };
        let Ok(answer) = tokio::time::timeout(DEADLINE, nomad.logs(&request)).await else {
            lines.push(format!("({stream} is not to be had within {} s)", DEADLINE.as_secs()));
            continue;
        };
        match answer {
            Ok(bytes) => lines.extend(last_lines(&String::from_utf8_lossy(&bytes))),
            // A task that never started has none.
            Err(error) if error.is_not_found() => {}
            Err(error) => lines.push(format!("({stream} cannot be read: {})", ErrorChain(&error))),
        }
    }
    lines
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(skipped).map(str::to_owned).collect()
}
