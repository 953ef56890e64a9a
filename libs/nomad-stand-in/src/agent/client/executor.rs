//! The executor: a process of its own beside each task, which outlives the agent.
//!
//! In: a [`Spec`] file. Out: `pid.json` when the task runs, `exit.json` when it has ended. Run as
//! `nomad-stand-in -stand-in-executor SPEC`; the agent that comes after a killed one finds the task through these files.
//! It also ends what the task left in its process group, and watches memory and the lifeline.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::image;

/// First argument of the process that runs one task.
pub(crate) const ARGUMENT: &str = "-stand-in-executor";
const WATCH_PAUSE: Duration = Duration::from_millis(200);

/// What to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    /// The working folder, inside the image if there is one.
    pub(crate) dir: PathBuf,
    pub(crate) stdout: PathBuf,
    pub(crate) stderr: PathBuf,
    /// Where the outcome is written.
    pub(crate) folder: PathBuf,
    /// The network namespace to join.
    pub(crate) netns: Option<PathBuf>,
    /// A network namespace of its own, with loopback alone.
    pub(crate) is_isolated: bool,
    pub(crate) image: Option<image::Root>,
    /// In MiB; `None`: not watched.
    pub(crate) memory_mb: Option<u64>,
    /// The task ends when one of these processes does.
    pub(crate) lifelines: Vec<i32>,
}

/// A running task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) executor: i32,
    /// Start of the executor in clock ticks since boot: with it the number names one process for ever.
    pub(crate) executor_started: u64,
    pub(crate) task: i32,
}

/// How a task ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) signal: i32,
    pub(crate) is_oom: bool,
    /// It never started.
    pub(crate) error: Option<String>,
}

/// Runs one task to its end.
pub(crate) fn run(spec: &Path) -> ExitCode {
    let outcome = std::fs::read(spec)
        .and_then(|text| serde_json::from_slice::<Spec>(&text).map_err(io::Error::other))
        .and_then(|spec| {
            let exit = execute(&spec)
                .unwrap_or_else(|error| Exit { error: Some(error.to_string()), ..Exit::default() });
            write(&spec.folder.join("exit.json"), &exit)
        });
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes a file in one step.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(value)?)?;
    std::fs::rename(&new, path)
}

fn execute(spec: &Spec) -> io::Result<Exit> {
    // A terminal's Ctrl-C at the agent is not for its tasks. It fails only for a leader, who has a session already.
    nix::unistd::setsid().ok();
    if let Some(netns) = &spec.netns {
        setns(File::open(netns)?, CloneFlags::CLONE_NEWNET)?;
    } else if spec.is_isolated {
        unshare(CloneFlags::CLONE_NEWNET)?;
        Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    }
    let mut child = start(spec)?;
    let task = i32::try_from(child.id()).map_err(io::Error::other)?;
    let executor = i32::try_from(std::process::id()).map_err(io::Error::other)?;
    let running =
        Running { executor, executor_started: started(executor).unwrap_or_default(), task };
    write(&spec.folder.join("pid.json"), &running)?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait()));
    let mut is_oom = false;
    let status = loop {
        match receiver.recv_timeout(WATCH_PAUSE) {
            Ok(status) => break status?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the task's end was missed"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        let used = spec.memory_mb.map(|limit| (anonymous_mb(task), limit));
        is_oom |= used.is_some_and(|(used, limit)| used > limit);
        if is_oom || is_orphan(&spec.lifelines) {
            kill_group(task);
        }
    };
    kill_group(task);
    Ok(exit(status, is_oom))
}

fn start(spec: &Spec) -> io::Result<Child> {
    let open = |path: &Path| File::options().create(true).append(true).open(path);
    let (program, args) =
        spec.command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    let mut command = match &spec.image {
        None => {
            let mut command = Command::new(program);
            command.args(args).current_dir(&spec.dir);
            command
        }
        Some(root) => {
            root.mount()?;
            // By its path: a bare name would be looked for on the task's PATH.
            let mut command = Command::new("/usr/sbin/chroot");
            // `env -C` is in coreutils but perhaps not in the image: the folder is entered by a shell-free chroot at /.
            command.arg(&root.at).arg(program).args(args).current_dir("/");
            command
        }
    };
    command.env_clear().envs(&spec.env).stdin(Stdio::null()).process_group(0);
    command.stdout(open(&spec.stdout)?).stderr(open(&spec.stderr)?);
    command.spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("failed to launch command {program}: {error}"))
    })
}

fn exit(status: ExitStatus, is_oom: bool) -> Exit {
    let signal = status.signal().unwrap_or_default();
    // As a shell says it, and Nomad with it.
    let code = status.code().unwrap_or(128 + signal);
    Exit { code, signal, is_oom, error: None }
}

/// Whether one of these has ended: also when its parent, who may be busy with other things, has not looked after it yet.
fn is_orphan(lifelines: &[i32]) -> bool {
    lifelines.iter().any(|pid| started(*pid).is_none())
}

fn kill_group(task: i32) {
    // ESRCH: nobody is left, which is what is wanted.
    killpg(Pid::from_raw(task), Signal::SIGKILL).ok();
}

/// When a process started, in clock ticks since boot.
pub(crate) fn started(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    if fields.starts_with('Z') {
        return None;
    }
    fields.split(' ').nth(19)?.parse().ok()
}

/// Memory of a process and its descendants that belongs to them alone, in MiB.
fn anonymous_mb(pid: i32) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let mut fields = pages.split(' ').skip(1).filter_map(|field| field.parse::<u64>().ok());
    let own = fields.next().unwrap_or_default().saturating_sub(fields.next().unwrap_or_default());
    let children =
        std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below =
        children.split_whitespace().filter_map(|child| child.parse().ok()).map(anonymous_mb);
    own * 4096 / (1 << 20) + below.sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifeline_that_ended_is_cut_though_its_parent_has_not_looked_after_it() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_orphan(&[own]) && !is_orphan(&[]));
        let mut child = Command::new("/bin/true").stdout(Stdio::piped()).spawn().unwrap();
        let id = i32::try_from(child.id()).unwrap();
        // Its output is closed when it ends, before anybody waits for it.
        let mut end = Vec::new();
        io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut end).unwrap();
        while started(id).is_some() {
            std::thread::yield_now();
        }
        assert!(Path::new(&format!("/proc/{id}")).exists(), "it is a zombie");
        assert!(is_orphan(&[own, id]));
        child.wait().unwrap();
    }
}
