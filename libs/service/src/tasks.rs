//! Named tasks: one that ends before it was asked to ends the process, with its name and error.
//!
//! In: the long-lived parts of a program as futures. Out: the reason why the program ended.
//! Owned by the program's wiring; nothing else spawns long-lived tasks.
//!
//! **Invariants**: no task is lost silently; after shutdown every task has the same grace, then it is aborted and named.

use std::error::Error;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::ErrorChain;

/// What a task failed with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why a program ended that was not asked to, or not cleanly.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task returned although nobody asked for the end.
    #[error("task {task} ended before it was asked to")]
    Ended {
        /// Its name.
        task: String,
    },
    /// A task failed.
    #[error("task {task} failed")]
    Failed {
        /// Its name.
        task: String,
        /// With what.
        #[source]
        source: BoxError,
    },
    /// A task panicked; the message is on standard error.
    #[error("task {task} panicked")]
    Panicked {
        /// Its name.
        task: String,
        /// What the runtime says.
        #[source]
        source: JoinError,
    },
    /// Tasks did not end in time and were cut off.
    #[error("tasks did not stop within {grace:?}: {}", tasks.join(", "))]
    Slow {
        /// The time they had.
        grace: Duration,
        /// Their names.
        tasks: Vec<String>,
    },
}

/// The tasks of a program.
#[derive(Debug)]
pub struct Tasks {
    running: JoinSet<Result<(), BoxError>>,
    names: Vec<(Id, String)>,
    background: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Tasks {
    /// No tasks yet; `shutdown` is the token that all of them watch.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { running: JoinSet::new(), names: Vec::new(), background: JoinSet::new(), shutdown }
    }

    /// The token that all tasks watch.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task that runs until shutdown and then ends by itself.
    pub fn spawn<F, E>(&mut self, name: impl Into<String>, future: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let name = name.into();
        let span = tracing::info_span!("task", name);
        let task = async move { future.await.map_err(Into::into) }.instrument(span);
        let id = self.running.spawn(task).id();
        self.names.push((id, name));
    }

    /// Starts a task that lives as long as the process and is dropped at its end, such as the signal handler.
    pub fn spawn_background(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.background.spawn(future);
    }

    /// Waits for shutdown or for the first task that ends, then asks all to stop and gives them `grace`.
    ///
    /// # Errors
    /// The first task that ended unasked, failed or panicked; else the tasks that were too slow to stop.
    pub async fn run(mut self, grace: Duration) -> Result<(), TaskError> {
        let shutdown = self.shutdown.clone();
        let mut first = tokio::select! {
            // What ends because it was asked to has not failed.
            biased;
            () = shutdown.cancelled() => None,
            ended = self.next() => ended.map(|(task, result)| match result {
                Ok(()) => TaskError::Ended { task },
                Err(error) => error,
            }),
        };
        shutdown.cancel();
        let deadline = Instant::now() + grace;
        while let Ok(Some((_, result))) = tokio::time::timeout_at(deadline, self.next()).await {
            match result {
                Err(error) if first.is_none() => first = Some(error),
                Err(error) => {
                    tracing::error!(error = %ErrorChain(&error), "Task failed while stopping")
                }
                Ok(()) => {}
            }
        }
        let tasks: Vec<String> = self.names.into_iter().map(|(_, name)| name).collect();
        if !tasks.is_empty() {
            let slow = TaskError::Slow { grace, tasks };
            if first.is_some() {
                tracing::error!(error = %slow, "Tasks were cut off");
            }
            first.get_or_insert(slow);
        }
        first.map_or(Ok(()), Err)
    }

    /// The next task that ends; `None` when there is none left.
    async fn next(&mut self) -> Option<(String, Result<(), TaskError>)> {
        let joined = self.running.join_next_with_id().await?;
        let id = match &joined {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let task = match self.names.iter().position(|(known, _)| *known == id) {
            Some(position) => self.names.swap_remove(position).1,
            None => id.to_string(),
        };
        let result = match joined {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(source))) => Err(TaskError::Failed { task: task.clone(), source }),
            Err(source) => Err(TaskError::Panicked { task: task.clone(), source }),
        };
        Some((task, result))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    const GRACE: Duration = Duration::from_millis(200);

    fn until(shutdown: &CancellationToken) -> impl Future<Output = Result<(), io::Error>> + use<> {
        let shutdown = shutdown.clone();
        async move {
            shutdown.cancelled().await;
            Ok(())
        }
    }

    async fn outcome(task: impl Future<Output = Result<(), io::Error>> + Send + 'static) -> String {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("patient", until(&shutdown));
        tasks.spawn("streams", task);
        let error = tasks.run(GRACE).await.unwrap_err();
        assert!(shutdown.is_cancelled());
        ErrorChain(&error).to_string()
    }

    #[tokio::test]
    async fn a_task_that_fails_ends_the_program_with_its_name_and_error() {
        let failing = async { Err(io::Error::other("port is taken")) };
        assert_eq!(outcome(failing).await, "task streams failed: port is taken");
    }

    #[tokio::test]
    async fn a_task_that_returns_unasked_ends_the_program() {
        assert_eq!(outcome(async { Ok(()) }).await, "task streams ended before it was asked to");
    }

    #[tokio::test]
    async fn a_task_that_panics_ends_the_program() {
        let message = outcome(async { panic!("bug") }).await;
        assert!(message.starts_with("task streams panicked: "), "{message}");
    }

    #[tokio::test]
    async fn a_task_that_ends_before_the_shutdown_is_noticed_has_not_failed() {
        for _ in 0..20 {
            let shutdown = CancellationToken::new();
            let mut tasks = Tasks::new(shutdown.clone());
            tasks.spawn("quick", until(&shutdown));
            shutdown.cancel();
            tokio::task::yield_now().await;
            assert!(tasks.run(GRACE).await.is_ok());
        }
    }

    #[tokio::test]
    async fn shutdown_waits_for_tasks_and_names_those_that_stay() {
        let shutdown = CancellationToken::new();
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("patient", until(&shutdown));
        shutdown.cancel();
        assert!(tasks.run(GRACE).await.is_ok());

        let mut tasks = Tasks::new(shutdown);
        tasks.spawn("stubborn", std::future::pending::<Result<(), io::Error>>());
        let error = tasks.run(GRACE).await.unwrap_err().to_string();
        assert_eq!(error, "tasks did not stop within 200ms: stubborn");
    }
}
