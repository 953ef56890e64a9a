//! A running task as the agent holds it: through the files of its executor, whether this agent started it or an earlier one.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::sleep;

use super::executor::{self, ARGUMENT, Exit, Running, Spec};

const PAUSE: Duration = Duration::from_millis(50);
/// How many looks at the outcome come for each look at the executor.
const LOOKS: u64 = 20;

/// A task's process.
#[derive(Debug)]
pub(super) struct Process {
    folder: PathBuf,
    running: Running,
}

impl Process {
    /// Starts a task; an error is why it could not run.
    pub(super) async fn start(spec: &Spec) -> Result<Self, String> {
        Self::launch(spec).await.map_err(|error| error.to_string())
    }

    async fn launch(spec: &Spec) -> io::Result<Self> {
        let folder = &spec.folder;
        for stale in ["pid.json", "exit.json"] {
            match std::fs::remove_file(folder.join(stale)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = folder.join("spec.json");
        executor::write(&file, spec)?;
        let log = std::fs::File::create(folder.join("executor.log"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        loop {
            if let Some(running) = read::<Running>(&folder.join("pid.json")) {
                return Ok(Self { folder: folder.clone(), running });
            }
            if let Some(exit) = read::<Exit>(&folder.join("exit.json")) {
                return Err(io::Error::other(exit.error.unwrap_or_default()));
            }
            if let Some(status) = child.try_wait()? {
                let said = std::fs::read_to_string(folder.join("executor.log")).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "the executor ended with {status}: {}",
                    said.trim()
                )));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// The process that an earlier agent left, running or ended.
    pub(super) fn adopt(folder: &Path) -> Option<Self> {
        let running = read(&folder.join("pid.json"))?;
        Some(Self { folder: folder.to_owned(), running })
    }

    /// The task's first process.
    pub(super) fn id(&self) -> i32 {
        self.running.task
    }

    /// Whether its executor still watches it.
    pub(super) fn is_running(&self) -> bool {
        executor::started(self.running.executor) == Some(self.running.executor_started)
    }

    /// Waits for its end. Cancel-safe.
    pub(super) async fn wait(&self) -> Exit {
        let file = self.folder.join("exit.json");
        for look in 0_u64.. {
            // Asked before the file is read: what ends after it has written is not lost.
            let is_lost = look % LOOKS == 0 && !self.is_running();
            if let Some(exit) = read::<Exit>(&file) {
                return exit;
            }
            if is_lost {
                self.kill();
                break;
            }
            sleep(PAUSE).await;
        }
        Exit { code: 137, signal: 9, ..Exit::default() }
    }

    /// Sends a signal to the task's first process.
    pub(super) fn signal(&self, signal: Signal) {
        // ESRCH: it has just ended by itself.
        kill(Pid::from_raw(self.running.task), signal).ok();
    }

    /// Kills all of the task.
    pub(super) fn kill(&self) {
        // ESRCH: nobody is left, which is what is wanted.
        killpg(Pid::from_raw(self.running.task), Signal::SIGKILL).ok();
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
