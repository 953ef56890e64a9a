//! Why an instance failed: what Nomad saw of its tasks, and what they wrote last.
//!
//! In: an allocation, Nomad's logs. Out: [`Evidence`], read before anything is taken away.
//!
//! **Invariants**: no evidence is not an error: a log that cannot be read is said to be so. Logs are read at once, so that
//! hosts that are silent cost one deadline together.

use std::fmt::Write as _;
use std::time::Duration;

use futures::future::{join, join_all};
use nomad::{Allocation, LogOrigin, LogRequest, LogStream, NomadClient, TaskEvent};
use serde::Serialize;
use service::ErrorChain;

use super::decide::{ailment, is_given_up};
use super::view::{View, short};

/// Lines of a task's output that are shown.
const LINES: usize = 10;
/// Bytes from which they are taken.
const BYTES: u64 = 8 * 1024;
/// How long all logs may take together: a way back does not wait for a host that is gone.
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
    let given_up = view.of_version(version).filter(|own| is_given_up(own)).take(INSTANCES);
    join_all(given_up.map(|own| look_into(nomad, own))).await
}

async fn look_into(nomad: &NomadClient, own: &Allocation) -> Evidence {
    let has_failed = own.task_states.values().any(|task| task.failed);
    // Of an instance that is merely not healthy every task may be the reason.
    let tasks = own.task_states.iter().filter(|(_, task)| task.failed || !has_failed);
    let event = |event: &TaskEvent| match event.display_message.as_str() {
        "" => event.kind.clone(),
        message => format!("{}: {message}", event.kind),
    };
    let tasks = tasks.map(async |(name, task)| TaskEvidence {
        name: name.clone(),
        state: task.state.clone(),
        failed: task.failed,
        events: task.events.iter().map(event).collect(),
        log: log(nomad, own, name).await,
    });
    Evidence {
        instance: own.id.clone(),
        node: own.node_name.clone(),
        ailment: ailment(own),
        tasks: join_all(tasks).await,
    }
}

/// The last lines of both outputs.
async fn log(nomad: &NomadClient, own: &Allocation, task: &str) -> Vec<String> {
    let read = async |stream| {
        let request =
            LogRequest { allocation: &own.id, task, stream, origin: LogOrigin::End, offset: BYTES };
        match tokio::time::timeout(DEADLINE, nomad.logs(&request)).await {
            Err(_) => vec![format!("({stream} is not to be had within {} s)", DEADLINE.as_secs())],
            Ok(Ok(bytes)) => last_lines(&String::from_utf8_lossy(&bytes)),
            // A task that never started has none.
            Ok(Err(error)) if error.is_not_found() => Vec::new(),
            Ok(Err(error)) => vec![format!("({stream} cannot be read: {})", ErrorChain(&error))],
        }
    };
    let (errors, output) = join(read(LogStream::Stderr), read(LogStream::Stdout)).await;
    errors.into_iter().chain(output).collect()
}

fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(skipped).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use axum::Router;
    use nomad::{NomadConfig, TaskState};
    use tokio::net::TcpListener;
    use tokio::sync::Barrier;

    use super::*;

    /// Two instances of version 5 that failed, with two tasks each.
    fn failed() -> View {
        let task = TaskState { failed: true, ..TaskState::default() };
        let tasks = ["app", "envoy"].map(|name| (name.to_owned(), task.clone()));
        let instance = |id: &str| Allocation {
            id: id.to_owned(),
            job_version: 5,
            client_status: "failed".to_owned(),
            task_states: BTreeMap::from(tasks.clone()),
            ..Allocation::default()
        };
        View { allocations: vec![instance("a"), instance("b")], ..View::default() }
    }

    #[tokio::test]
    async fn all_logs_are_asked_for_at_once_so_that_silent_hosts_cost_the_way_back_one_deadline() {
        consul::testing::install_crypto_provider();
        // It answers when everything was asked for.
        let all = Arc::new(Barrier::new(8));
        let logs = Router::new().fallback(async move || {
            all.wait().await;
            "its last words\n"
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let nomad = NomadClient::new(NomadConfig::new(url)).unwrap();
        let view = failed();
        let found = tokio::select! {
            ended = async { axum::serve(listener, logs).await } => panic!("{ended:?}"),
            found = collect(&nomad, &view, 5) => found,
        };
        let said: Vec<(&str, &str, usize)> = found
            .iter()
            .flat_map(|own| {
                own.tasks.iter().map(|task| (&*own.instance, &*task.name, task.log.len()))
            })
            .collect();
        assert_eq!(said, [("a", "app", 2), ("a", "envoy", 2), ("b", "app", 2), ("b", "envoy", 2)]);
        let lines = found.iter().flat_map(|own| &own.tasks).flat_map(|task| &task.log);
        assert!(lines.clone().all(|line| line == "its last words"), "{found:?}");
    }
}
