//! One task: waits for its turn, is prepared, runs, is restarted by its policy, and ends when it is told to.
//!
//! In: orders of its runner. Out: its state on the board, with Nomad's events. Ends when the task is dead for good.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Client;
use super::board::Board;
use super::driver::{self, Refusal};
use super::environment::Environment;
use super::executor::{Exit, Spec};
use super::folders::TaskPaths;
use super::process::Process;
use super::stages::Order;
use crate::agent::job::{Group, Nanos, Stage, Task};
use crate::agent::state::{Allocation, TaskEvent, TaskPhase};
use crate::agent::store::now;
use crate::agent::time::{go_duration, rfc3339};

/// A task to run.
pub(super) struct Run<'a> {
    pub(super) client: &'a Client,
    pub(super) allocation: Arc<Allocation>,
    pub(super) group: &'a Group,
    pub(super) task: &'a Task,
    pub(super) environment: Environment,
    pub(super) paths: TaskPaths,
    pub(super) netns: Option<PathBuf>,
    pub(super) board: &'a Board,
    pub(super) orders: watch::Receiver<Order>,
    pub(super) restarts: watch::Receiver<BTreeMap<String, u64>>,
}

/// What follows an end.
enum Next {
    Again,
    Over,
}

impl Run<'_> {
    /// Runs it to its last end.
    pub(super) async fn run(mut self) {
        let name = self.task.name.clone();
        let mut adopted = None;
        match self.board.state(&name).state {
            TaskPhase::Dead => return,
            TaskPhase::Running => adopted = Process::adopt(&self.paths.executor),
            TaskPhase::Pending if self.board.state(&name).events.is_empty() => {
                self.board.event(&name, "Received", "Task received by client");
            }
            TaskPhase::Pending => {}
        }
        if adopted.is_none() && self.wait_for_turn().await == Order::End {
            return self.finish(false);
        }
        let mut tries = Vec::new();
        let mut is_prepared = adopted.is_some();
        loop {
            let outcome = match adopted.take() {
                Some(process) => self.attend(&process).await,
                None => match self.start(&mut is_prepared).await {
                    Ok(process) => self.attend(&process).await,
                    Err(Refusal::Validation(why)) => {
                        self.board.event(
                            &name,
                            "Failed Validation",
                            format!("Validation of task failed: {why}"),
                        );
                        return self.finish(true);
                    }
                    Err(Refusal::Driver(_)) => Some(Exit { code: 1, ..Exit::default() }),
                },
            };
            let Some(exit) = outcome else { return self.finish(false) };
            match self.after(&exit, &mut tries).await {
                Next::Again => {}
                Next::Over => return,
            }
        }
    }

    async fn wait_for_turn(&mut self) -> Order {
        let order = self.orders.wait_for(|order| *order != Order::Hold).await;
        order.map_or(Order::End, |order| *order)
    }

    fn finish(&self, failed: bool) {
        self.board.change(&self.task.name, |state| state.finished(failed, now()));
    }

    /// Folders, payload, artifacts, templates, then the process.
    async fn start(&self, is_prepared: &mut bool) -> Result<Process, Refusal> {
        let name = &self.task.name;
        if !*is_prepared {
            self.board.event(name, "Task Setup", "Building Task Directory");
            self.prepare().await?;
            *is_prepared = true;
        }
        let images = self.client.settings.images.as_deref();
        let mut environment = self.environment.clone();
        self.load_variables(&mut environment)?;
        let spec = driver::spec((self.group, self.task), &environment, &self.paths, images);
        let spec = spec.inspect_err(|refusal| {
            if let Refusal::Driver(why) = refusal {
                self.board.event(name, "Driver Failure", format!("Failed to start task: {why}"));
            }
        })?;
        let spec = Spec {
            is_isolated: spec.is_isolated && self.netns.is_none(),
            netns: self.netns.clone(),
            lifelines: self.client.lifelines(),
            ..spec
        };
        match Process::start(&spec).await {
            Ok(process) => {
                let event = TaskEvent::new("Started", "Task started by client", now());
                self.board.change(name, |state| {
                    state.started(now());
                    state.record(event);
                });
                Ok(process)
            }
            Err(why) => {
                self.board.event(
                    name,
                    "Driver Failure",
                    format!("rpc error: code = Unknown desc = {why}"),
                );
                Err(Refusal::Driver(why))
            }
        }
    }

    /// Waits for the end: by itself, or, when told to, in Nomad's order. `None`: it was told to.
    async fn attend(&mut self, process: &Process) -> Option<Exit> {
        let id = self.allocation.id.clone();
        let before = self.restarts.borrow().get(&id).copied();
        tokio::select! {
            exit = process.wait() => {
                self.terminated(&exit);
                return Some(exit);
            }
            () = ended(&mut self.orders) => {}
            () = restarted(&mut self.restarts, &id, before) => {
                self.board.event(&self.task.name, "Restart Signaled", "User requested task to restart");
                let exit = self.end(process).await;
                return Some(Exit { code: -1, ..exit });
            }
        }
        let delay = self.task.shutdown_delay;
        if delay > 0 {
            self.board.event(
                &self.task.name,
                "Waiting for shutdown delay",
                format!(
                    "Waiting for shutdown_delay of {} before killing the task.",
                    go_duration(delay)
                ),
            );
            tokio::select! {
                exit = process.wait() => { self.terminated(&exit); return None; }
                () = sleep(duration(delay)) => {}
            }
        }
        self.end(process).await;
        self.board.event(&self.task.name, "Killed", "Task successfully killed");
        None
    }

    async fn end(&self, process: &Process) -> Exit {
        let timeout = self.task.kill_timeout.min(self.client.settings.max_kill_timeout);
        let text = format!("Sent interrupt. Waiting {} before force killing", go_duration(timeout));
        self.board.event(&self.task.name, "Killing", text);
        process.signal(kill_signal(self.task));
        let exit = match tokio::time::timeout(duration(timeout), process.wait()).await {
            Ok(exit) => exit,
            Err(_) => {
                process.kill();
                process.wait().await
            }
        };
        self.terminated(&exit);
        exit
    }

    fn terminated(&self, exit: &Exit) {
        let mut text = format!("Exit Code: {}", exit.code);
        if exit.signal > 0 {
            text.push_str(&format!(", Signal: {}", exit.signal));
        }
        if exit.is_oom {
            text.push_str(", Exit Message: \"OOM Killed\"");
        }
        let event = TaskEvent::new("Terminated", text, now())
            .detail("exit_code", exit.code)
            .detail("signal", exit.signal)
            .detail("oom_killed", exit.is_oom);
        let event = if exit.is_oom { event.detail("exit_message", "OOM Killed") } else { event };
        let event = TaskEvent { exit_code: exit.code, signal: exit.signal, ..event };
        self.board.change(&self.task.name, |state| state.record(event));
    }

    /// Restarts it, or not, by its policy.
    async fn after(&mut self, exit: &Exit, tries: &mut Vec<Nanos>) -> Next {
        let ends = match self.task.stage() {
            Stage::Main => self.allocation.job.job.kind.is_batch(),
            Stage::Sidecar => false,
            _ => true,
        };
        if ends && exit.code == 0 && exit.signal == 0 {
            self.finish(false);
            return Next::Over;
        }
        let is_asked = exit.code == -1;
        let policy = &self.task.restart;
        let at = now();
        tries.retain(|when| at - when < policy.interval);
        let mut delay = if is_asked { 0 } else { policy.delay };
        if !is_asked && tries.len() >= policy.attempts {
            if policy.mode == "fail" {
                let why = if policy.attempts == 0 {
                    "Policy allows no restarts".to_owned()
                } else {
                    format!(
                        "Exceeded allowed attempts {} in interval {} and mode is \"fail\"",
                        policy.attempts,
                        go_duration(policy.interval)
                    )
                };
                let event = TaskEvent::new("Not Restarting", why.clone(), at)
                    .detail("restart_reason", why)
                    .failing();
                self.board.change(&self.task.name, |state| {
                    state.record(event);
                    state.finished(true, now());
                });
                return Next::Over;
            }
            delay = tries.first().map_or(delay, |first| (first + policy.interval - at).max(delay));
        }
        tries.push(at);
        let event =
            TaskEvent::new("Restarting", format!("Task restarting in {}", go_duration(delay)), at)
                .detail("restart_reason", "Restart within policy")
                .detail("start_delay", delay);
        self.board.change(&self.task.name, |state| {
            state.state = TaskPhase::Pending;
            state.restarts += 1;
            state.last_restart = rfc3339(at);
            state.record(event);
        });
        tokio::select! {
            () = sleep(duration(delay)) => Next::Again,
            () = ended(&mut self.orders) => {
                self.finish(false);
                Next::Over
            }
        }
    }
}

/// Waits until the task is told to end, or nobody is left to tell it anything.
async fn ended(orders: &mut watch::Receiver<Order>) {
    orders.wait_for(|order| *order == Order::End).await.ok();
}

/// Waits until an operator asks for a restart.
async fn restarted(
    restarts: &mut watch::Receiver<BTreeMap<String, u64>>,
    allocation: &str,
    before: Option<u64>,
) {
    if restarts.wait_for(|all| all.get(allocation).copied() != before).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Docker sends SIGTERM, the others SIGINT, unless the job says otherwise.
fn kill_signal(task: &Task) -> Signal {
    let default = if task.driver == "docker" { Signal::SIGTERM } else { Signal::SIGINT };
    let name = task.kill_signal.to_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    name.parse().unwrap_or(default)
}

fn duration(nanos: Nanos) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}
