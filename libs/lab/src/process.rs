//! Child processes: captured output, a process group each, and an end that nobody has to remember.
//!
//! Dropping a [`Process`] kills its group, also on a panic. When the lab itself is killed, the kernel kills the
//! children: they are started through `setpriv --pdeathsig` where that exists (it belongs to Debian's base system).
//! That signal follows the *thread* that started a process, so a process must be started from a runtime's worker
//! or main thread, never from a blocking one. A terminal's Ctrl-C does not reach the children: they are not in
//! its foreground group, so the lab decides the order in which they end.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::netns::NetNs;
use crate::{LabError, wait};

const SETPRIV: &str = "/usr/bin/setpriv";
const FREEZE_DEADLINE: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Debug, Clone)]
pub struct Program {
    /// Unique in the lab: the name of its log.
    pub name: String,
    /// The binary.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables beside the lab's own.
    pub env: Vec<(String, String)>,
    /// The network namespace it lives in; `None`: the lab's own.
    pub netns: Option<NetNs>,
}

impl Program {
    /// A program in the lab's own network namespace.
    pub fn new(name: impl Into<String>, path: &Path) -> Self {
        Self {
            name: name.into(),
            path: path.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            netns: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.push((key.to_owned(), value.into()));
        self
    }

    /// Puts it into a network namespace.
    #[must_use]
    pub fn in_netns(mut self, netns: Option<&NetNs>) -> Self {
        self.netns = netns.cloned();
        self
    }

    fn command(&self) -> Command {
        let mut words: Vec<String> = Vec::new();
        if Path::new(SETPRIV).exists() {
            words.extend([SETPRIV, "--pdeathsig", "KILL", "--"].map(str::to_owned));
        }
        if let Some(netns) = &self.netns {
            words.extend(["ip", "netns", "exec", netns.name()].map(str::to_owned));
        }
        words.push(self.path.display().to_string());
        words.extend(self.args.iter().cloned());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.args(words).stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command
    }
}

/// A running child.
pub struct Process {
    name: String,
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({} {})", self.name, self.group)
    }
}

impl Process {
    /// Starts it; its output is appended to `DIR/NAME.log`.
    pub fn start(program: &Program, dir: &Path) -> Result<Self, LabError> {
        let log = dir.join(format!("{}.log", program.name));
        let open = File::options().create(true).append(true).open(&log);
        let out = open.map_err(LabError::io(format!("write {}", log.display())))?;
        let err = out.try_clone().map_err(LabError::io(format!("write {}", log.display())))?;
        let step = || format!("start {} ({})", program.name, program.path.display());
        let child =
            program.command().stdout(out).stderr(err).spawn().map_err(LabError::io(step()))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id.map(Pid::from_raw).ok_or_else(|| LabError::Ended {
            process: program.name.clone(),
            status: "no process id".to_owned(),
            tail: tail_of(&log),
        })?;
        Ok(Self { name: program.name.clone(), child, group, log })
    }

    /// Its name in the lab.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> i32 {
        self.group.as_raw()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its last lines of output.
    pub fn tail(&self) -> String {
        tail_of(&self.log)
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) -> Result<(), LabError> {
        kill(self.group, signal)
            .map_err(|errno| LabError::io(format!("send {signal} to {}", self.name))(errno.into()))
    }

    /// Stops all of its threads (SIGSTOP) and waits until they stand still; SIGCONT lets them go on.
    pub async fn freeze(&mut self) -> Result<(), LabError> {
        self.signal(Signal::SIGSTOP)?;
        let threads = format!("/proc/{}/task", self.id());
        let what = format!("every thread of {} stands still", self.name);
        self.until(&what, FREEZE_DEADLINE, async || {
            for thread in std::fs::read_dir(&threads)?.flatten() {
                let stat = std::fs::read_to_string(thread.path().join("stat"))?;
                if !stat.contains(") T ") {
                    return Err(std::io::Error::other(stat));
                }
            }
            Ok(())
        })
        .await
    }

    /// An error with its last lines when it has ended.
    pub fn check(&mut self) -> Result<(), LabError> {
        let step = format!("look after {}", self.name);
        match self.child.try_wait().map_err(LabError::io(step))? {
            None => Ok(()),
            Some(status) => Err(LabError::Ended {
                process: self.name.clone(),
                status: status.to_string(),
                tail: self.tail(),
            }),
        }
    }

    /// Awaits a state that the process brings about, as [`wait::until`] does; its own end is reported at once.
    pub async fn until<T, E, F>(
        &mut self,
        what: &str,
        deadline: Duration,
        probe: F,
    ) -> Result<T, LabError>
    where
        E: fmt::Display,
        F: AsyncFnMut() -> Result<T, E>,
    {
        let mut probe = probe;
        wait::until(what, deadline, async || match self.check() {
            Err(ended) => Ok(Err(ended)),
            Ok(()) => probe().await.map(Ok),
        })
        .await?
    }

    /// Asks it to end (SIGTERM), waits for `grace`, then kills its group.
    pub async fn stop(&mut self, grace: Duration) -> Result<ExitStatus, LabError> {
        if self.check().is_ok() {
            self.signal(Signal::SIGTERM)?;
        }
        match tokio::time::timeout(grace, self.child.wait()).await {
            Ok(status) => status.map_err(LabError::io(format!("wait for {}", self.name))),
            Err(_) => self.kill().await,
        }
    }

    /// Kills its group at once (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) -> Result<ExitStatus, LabError> {
        self.kill_group();
        self.child.wait().await.map_err(LabError::io(format!("wait for {}", self.name)))
    }

    fn kill_group(&self) {
        // ESRCH: the group is gone already, which is what is wanted.
        killpg(self.group, Signal::SIGKILL).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Once reaped, the number may belong to someone else.
        if self.child.id().is_some() {
            self.kill_group();
        }
    }
}

/// Runs a command to its end and gives its standard output.
pub async fn run(program: &Program) -> Result<String, LabError> {
    let output = program.command().output().await.map_err(LabError::io(format!(
        "run {} ({})",
        program.name,
        program.path.display()
    )))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(LabError::Ended {
        process: format!("{} {}", program.path.display(), program.args.join(" ")),
        status: output.status.to_string(),
        tail: last_lines(&String::from_utf8_lossy(&output.stderr)),
    })
}

fn tail_of(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&bytes))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests;
