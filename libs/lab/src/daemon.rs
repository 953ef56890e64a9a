//! A program that is started, harmed and started again, while what it answers at stays the same.
//!
//! In: a [`Program`], the folder that it writes to, and what it offers (`A`, such as a client of its API). Out: a
//! [`Daemon`], which *is* that offer as far as asking goes, and beside it owns the process.
//!
//! **Invariants**: at most one process at a time; where none runs, stopping and harming it do nothing.
//! Deliberately absent: when it is ready, unless the offer [`Answers`]; acting by itself: what ended stays ended.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::process::{Process, Program};
use crate::{LabError, wait};

/// An offer that tells when it is there.
pub trait Answers {
    /// The state, as the end of the sentence "waited until …".
    const STATE: &'static str;
    /// Within which it is there after a start.
    const DEADLINE: Duration;

    /// Whether it is there; `Err` says what was the case instead.
    fn answers(&self) -> impl Future<Output = Result<(), String>>;
}

/// A program, running or not, and what it offers.
#[derive(Debug)]
pub struct Daemon<A> {
    program: Program,
    dir: PathBuf,
    grace: Duration,
    process: Option<Process>,
    offer: A,
}

impl<A> Deref for Daemon<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.offer
    }
}

impl<A> Daemon<A> {
    /// One that does not run yet; its output goes to `dir`, and `grace` is how long it may take to end when asked.
    pub fn new(program: Program, dir: &Path, grace: Duration, offer: A) -> Self {
        Self { program, dir: dir.to_owned(), grace, process: None, offer }
    }

    /// Starts it, also where it has ended by itself; it may not answer yet. What runs goes on.
    pub fn launch(&mut self) -> Result<(), LabError> {
        if self.process.is_none() || self.check().is_err() {
            self.process = Some(Process::start(&self.program, &self.dir)?);
        }
        Ok(())
    }

    /// Stops it as an operator would.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        match self.process.take() {
            Some(mut process) => process.stop(self.grace).await.map(drop),
            None => Ok(()),
        }
    }

    /// Kills it without warning.
    pub async fn kill(&mut self) -> Result<(), LabError> {
        match self.process.take() {
            Some(mut process) => process.kill().await.map(drop),
            None => Ok(()),
        }
    }

    /// Lets it hang: connections stay open, nothing answers.
    pub async fn freeze(&mut self) -> Result<(), LabError> {
        match &mut self.process {
            Some(process) => process.freeze().await,
            None => Ok(()),
        }
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<(), LabError> {
        self.process.as_ref().map_or(Ok(()), |process| process.signal(Signal::SIGCONT))
    }

    /// What it is, and where it runs.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Its folder: configuration, log, state.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its process, while it runs.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<i32> {
        self.process().map(Process::id)
    }

    /// Its last lines of output, while it runs.
    pub fn tail(&self) -> String {
        self.process().map(Process::tail).unwrap_or_default()
    }

    /// An error with its last lines when it has ended by itself.
    pub fn check(&mut self) -> Result<(), LabError> {
        self.process.as_mut().map_or(Ok(()), Process::check)
    }

    /// Awaits a state of its offer, as [`wait::until`] does; where it runs, its end is reported at once.
    pub async fn until<E: fmt::Display>(
        &mut self,
        what: &str,
        deadline: Duration,
        probe: impl AsyncFn(&A) -> Result<(), E>,
    ) -> Result<(), LabError> {
        let offer = &self.offer;
        match &mut self.process {
            Some(process) => process.until(what, deadline, async || probe(offer).await).await,
            None => wait::until(what, deadline, async || probe(offer).await).await,
        }
    }
}

impl<A: Answers> Daemon<A> {
    /// Starts it, for the first time or after a stop or a kill, and waits until it answers.
    pub async fn start_again(&mut self) -> Result<(), LabError> {
        self.launch()?;
        self.until(A::STATE, A::DEADLINE, A::answers).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    fn daemon(dir: &Path, script: &str) -> Daemon<()> {
        let program = Program::new("daemon", Path::new("/bin/sh")).args(["-c", script]);
        Daemon::new(program, dir, SOON, ())
    }

    fn state(id: i32) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    #[tokio::test]
    async fn what_runs_goes_on_what_ended_is_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut own = daemon(dir.path(), "exec sleep 100");
        assert_eq!((own.id(), own.tail()), (None, String::new()));
        own.launch().unwrap();
        let first = own.id().unwrap();
        own.launch().unwrap();
        assert_eq!(own.id(), Some(first), "it runs already");
        own.kill().await.unwrap();
        assert_eq!((own.id(), state(first)), (None, None));
        own.launch().unwrap();
        let second = own.id().unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(second), Signal::SIGKILL).unwrap();
        let end = "it ended by itself";
        wait::until(end, SOON, async || own.check().map_or(Ok(()), |()| Err("it runs")))
            .await
            .unwrap();
        own.launch().unwrap();
        assert_ne!(own.id().unwrap(), second);
        own.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_frozen_one_stands_still_until_it_is_thawed_and_none_is_harmed_without_error() {
        let dir = tempfile::tempdir().unwrap();
        let mut own = daemon(dir.path(), "exec sleep 100");
        own.freeze().await.unwrap();
        own.thaw().unwrap();
        own.kill().await.unwrap();
        own.stop().await.unwrap();
        own.launch().unwrap();
        own.freeze().await.unwrap();
        let id = own.id().unwrap();
        assert_eq!(state(id), Some('T'));
        own.thaw().unwrap();
        wait::until("it goes on", SOON, async || match state(id) {
            Some('T') => Err("stopped"),
            _ => Ok(()),
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn the_end_of_what_is_awaited_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut own = daemon(dir.path(), "echo no such town >&2; exit 3");
        own.launch().unwrap();
        let never = async |(): &()| Err::<(), _>("not yet");
        let error = own.until("it answers", SOON * 60, never).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such town"), "{error}");
    }
}
