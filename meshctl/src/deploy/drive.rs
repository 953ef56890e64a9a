//! The loop that deploys: observe, decide, do, until [`super::decide`] says that it is over.
//!
//! In: a [`Record`], who is to be asked. Out: an [`Outcome`]. Called by the commands.
//!
//! **Invariants**: a state is written to the lock before what it stands for is done. Whatever goes wrong after that is an
//! outcome that names the state; whoever is away is awaited, for [`Limits::max_outage`].

use std::time::Duration;

use nomad::{Job, NomadClient, NomadError};
use service::ErrorChain;
use tokio::time::Instant;

use super::decide::{Patience, Source, Step, decide};
use super::event::Event;
use super::lock::Lock;
use super::mesh::{MeshAnswer, Question};
use super::observe::Observer;
use super::outcome::Outcome;
use super::probe::Probe;
use super::record::{Record, State};
use super::report::Reporter;
use super::sli::Sli;
use super::view::View;

mod act;

/// Between questions to control planes.
const MESH_PAUSE: Duration = Duration::from_millis(250);
/// Between readings of the sidecars.
const SIDECAR_PAUSE: Duration = Duration::from_secs(1);
/// Between tries while Nomad is away, and between pictures of the table.
const BEAT: Duration = Duration::from_millis(500);

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The whole.
    pub timeout: Duration,
    /// How long Nomad or Consul may be away.
    pub max_outage: Duration,
    /// Whether a person's answer is awaited.
    pub awaits_person: bool,
}

/// A deploy at work.
pub struct Driver<'r, 'a, 'c> {
    nomad: NomadClient,
    probe: Probe,
    lock: &'r Lock,
    /// What is submitted; none where that was done before.
    submission: Option<Job>,
    record: Record,
    limits: Limits,
    observer: Observer,
    view: View,
    report: &'r mut Reporter<'a, 'c>,
    begun: Instant,
    /// Time in which a person was waited for.
    excused: Duration,
    /// Refusals by Nomad in a row.
    refusals: u32,
    /// What every proxy was last found to know.
    known: Option<Question>,
    /// By the job's modify index, whether it is what is gone back to.
    compared: Option<(u64, Option<bool>)>,
    /// Since the lock may be somebody else's.
    is_unsure: bool,
}

impl std::fmt::Debug for Driver<'_, '_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("record", &self.record).finish_non_exhaustive()
    }
}

impl<'r, 'a, 'c> Driver<'r, 'a, 'c> {
    /// Prepares to go on from the record's state.
    pub fn new(
        nomad: NomadClient,
        probe: Probe,
        lock: &'r Lock,
        (record, submission): (Record, Option<Job>),
        limits: Limits,
        report: &'r mut Reporter<'a, 'c>,
    ) -> Self {
        let mut observer = Observer::new(nomad.clone(), record.job.clone());
        if let State::Following { evaluation, .. } = &record.state {
            observer.follow(evaluation);
        }
        Self {
            nomad,
            probe,
            lock,
            submission,
            record,
            limits,
            observer,
            view: View::default(),
            report,
            begun: Instant::now(),
            excused: Duration::ZERO,
            refusals: 0,
            known: None,
            compared: None,
            is_unsure: false,
        }
    }

    /// Works until it is over; a signal to stop, or a lost lock, ends it where it stands.
    pub async fn run(&mut self) -> Outcome {
        let lock = self.lock;
        let ended = tokio::select! {
            outcome = self.work() => return outcome,
            lost = lock.keep() => Some(lost),
            () = told_to_stop() => None,
        };
        match ended {
            Some(lost) => self.half_way(lost.to_string()),
            None => Outcome::Interrupted { state: self.record.state.name().to_owned() },
        }
    }

    async fn work(&mut self) -> Outcome {
        let mut away: Option<Instant> = None;
        loop {
            match self.round().await {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {
                    if away.take().is_some() {
                        self.report.note(&Event::Outage("Nomad answers again".to_owned()));
                    }
                }
                Err(error) if error.is_outage() => {
                    let since = *away.get_or_insert_with(|| {
                        let what = format!("{}; waiting for it", ErrorChain(&error));
                        self.report.note(&Event::Outage(what));
                        Instant::now()
                    });
                    if since.elapsed() > self.limits.max_outage {
                        return self.half_way(ErrorChain(&error).to_string());
                    }
                    tokio::time::sleep(BEAT).await;
                    self.report.tick();
                }
                Err(error) => return self.half_way(ErrorChain(&error).to_string()),
            }
        }
    }

    /// Observes once and does what follows from it, up to the next wait.
    async fn round(&mut self) -> Result<Option<Outcome>, NomadError> {
        self.observer.read(&mut self.view).await?;
        self.view.is_in_force = self.is_in_force().await?;
        self.view.mesh = None;
        loop {
            let patience = Patience {
                elapsed: self.elapsed(),
                timeout: self.limits.timeout,
                awaits_person: self.limits.awaits_person,
            };
            let step = decide(&self.record, &self.view, patience);
            self.report.look(&self.record, &self.view, &step);
            match step {
                Step::AskMesh(question) => {
                    let allow = self.record.gates.allow_unconnected;
                    let answer = self.probe.ask(&question, allow).await;
                    self.note_known(&question, &answer);
                    self.view.mesh = Some((question, answer));
                }
                Step::Measure { version } => self.measure(version).await,
                Step::Enter(state) => {
                    if let Err(failure) = self.enter(state).await {
                        return Ok(Some(self.half_way(failure.to_string())));
                    }
                    return Ok(None);
                }
                Step::Wait { on, .. } => {
                    self.wait(on).await;
                    return Ok(None);
                }
                Step::End(outcome) => return Ok(Some(outcome)),
                step => return self.act(step).await,
            }
        }
    }

    /// Whether what is in force is what this is about: only Nomad can compare two jobs, by planning one.
    async fn is_in_force(&mut self) -> Result<Option<bool>, NomadError> {
        let to = match (&self.record.state, &self.submission) {
            (State::Submitting { .. }, Some(job)) => {
                return Ok(Some(self.nomad.plan(job).await?.diff.is_empty()));
            }
            (State::Reverting { to: Some(to), .. }, _) => *to,
            _ => return Ok(None),
        };
        let Some(index) = self.view.job.as_ref().map(Job::modify_index) else { return Ok(None) };
        match self.compared {
            Some((at, is_same)) if at == index => return Ok(is_same),
            _ => {}
        }
        let versions = self.nomad.versions(&self.record.job).await?;
        let is_same = match versions.iter().find(|own| own.version() == to) {
            Some(older) => Some(self.nomad.plan(older).await?.diff.is_empty()),
            // Nomad keeps it no longer.
            None => None,
        };
        self.compared = Some((index, is_same));
        Ok(is_same)
    }

    /// Says once that everybody knows.
    fn note_known(&mut self, question: &Question, answer: &MeshAnswer) {
        if let MeshAnswer::Converged { dependents } = answer
            && self.known.as_ref() != Some(question)
        {
            self.known = Some(question.clone());
            self.report.note(&Event::Converged { dependents: *dependents });
        }
    }

    async fn measure(&mut self, version: u64) {
        let Some(rules) = self.record.gates.sli.clone() else { return };
        self.view.sli = self.probe.measure(&self.view, version, &rules).await;
        let (verdict, figures) = match &self.view.sli {
            Sli::NotMeasured | Sli::Measuring(_) => return,
            Sli::Passed(figures) => ("passed", figures),
            Sli::Breached(figures) => ("breached", figures),
            Sli::Undecided(figures) => ("undecided", figures),
        };
        self.report.note(&Event::Compared { verdict, figures: figures.clone() });
    }

    /// Time that counts: a person may take longer than the whole is allowed to.
    fn elapsed(&self) -> Duration {
        self.begun.elapsed().saturating_sub(self.excused)
    }

    /// Waits for the next change, while the table goes on to show how time goes by.
    async fn wait(&mut self, on: Source) {
        let begun = Instant::now();
        let is_excused = matches!(self.record.state, State::AwaitingPromotion { .. });
        let left = self.limits.timeout.saturating_sub(self.elapsed()).max(BEAT);
        {
            let pause = async {
                match on {
                    Source::Nomad => self.observer.changed().await,
                    Source::Mesh => tokio::time::sleep(MESH_PAUSE).await,
                    Source::Sidecars => tokio::time::sleep(SIDECAR_PAUSE).await,
                }
            };
            tokio::pin!(pause);
            let late = tokio::time::sleep(left);
            tokio::pin!(late);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = &mut late, if !is_excused => break,
                    () = tokio::time::sleep(BEAT) => self.report.tick(),
                }
            }
        }
        if on == Source::Sidecars {
            self.view.sli = Sli::NotMeasured;
        }
        if is_excused {
            self.excused += begun.elapsed();
        }
    }

    fn half_way(&self, why: String) -> Outcome {
        Outcome::HalfWay {
            state: self.record.state.name().to_owned(),
            why,
            next: format!(
                "the same command goes on; meshctl rollback {} goes back",
                self.record.job
            ),
        }
    }
}

/// Comes back when the process is told to stop, or its terminal goes.
pub(super) async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let told = async |kind: SignalKind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        // The system's own way then ends the process: the record stays, and the lock ends by itself.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = told(SignalKind::interrupt()) => {}
        () = told(SignalKind::terminate()) => {}
        () = told(SignalKind::hangup()) => {}
    }
}

#[cfg(test)]
mod tests;
