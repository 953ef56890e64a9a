//! The steps that change something: in Nomad, or in the record.
//!
//! **Invariants**: what was done already, or is not possible any more, is refused by Nomad and looked at once more.

use nomad::{Job, NomadError, Registration};
use service::ErrorChain;

use super::super::decide::Step;
use super::super::event::Event;
use super::super::evidence;
use super::super::outcome::Outcome;
use super::super::record::{Record, State};
use super::super::view::short;
use super::{BEAT, Driver};
use crate::failure::Failure;

/// Refusals in a row after which a look does not help.
const REFUSALS: u32 = 5;

impl Driver<'_, '_, '_> {
    /// Changes something in Nomad. What was done already is refused by Nomad, and seen with the next look.
    pub(super) async fn act(&mut self, step: Step) -> Result<Option<Outcome>, NomadError> {
        if !self.may_act() {
            tokio::time::sleep(BEAT).await;
            return Ok(None);
        }
        let job = self.record.job.clone();
        let (done, what, object) = match step {
            Step::Submit { index } => return self.submit(index).await,
            Step::Promote { deployment } => {
                (self.nomad.promote(&deployment).await, "promote", short(&deployment).to_owned())
            }
            Step::Fail { deployment } => {
                (self.nomad.fail(&deployment).await, "fail", short(&deployment).to_owned())
            }
            Step::Revert { to, from } => {
                (self.nomad.revert(&job, to, Some(from)).await, "revert", format!("version {to}"))
            }
            Step::Stop => (self.nomad.stop(&job, false).await, "stop", job),
            Step::Purge => (self.nomad.stop(&job, true).await, "purge", job),
            _ => return Ok(None),
        };
        let done = match done {
            Ok(done) => done,
            // What was done already, or is not possible any more, is refused; the next look shows which.
            Err(error @ NomadError::Refused { .. }) if self.refusals < REFUSALS => {
                self.refusals += 1;
                self.report.note(&Event::Remark(ErrorChain(&error).to_string()));
                tokio::time::sleep(BEAT).await;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.refusals = 0;
        self.observer.follow(&done.evaluation);
        self.report.note(&Event::Told { what, object });
        Ok(None)
    }

    /// Whether the lock is held beyond doubt; whoever has not heard of Consul for long may have a successor.
    fn may_act(&mut self) -> bool {
        let is_sure = self.lock.is_sure();
        if is_sure == self.is_unsure {
            self.is_unsure = !is_sure;
            self.report.note(&Event::Outage(match is_sure {
                true => "Consul answers again, the lock is held".to_owned(),
                false => "Consul does not answer: nothing is changed until it says that the lock is still held".to_owned(),
            }));
        }
        is_sure
    }

    async fn submit(&mut self, index: u64) -> Result<Option<Outcome>, NomadError> {
        let Some(job) = &self.submission else {
            let why = "nothing was submitted yet, and only the file says what".to_owned();
            return Ok(Some(self.half_way(why)));
        };
        let registered = match self.nomad.register(job, Registration::CheckAndSet(index)).await {
            Ok(registered) => registered,
            // The next look says who was faster: an earlier try of this one, or somebody else.
            Err(NomadError::Conflict { .. }) => return Ok(None),
            Err(error @ (NomadError::Refused { .. } | NomadError::Denied { .. })) => {
                let why = format!("Nomad does not take it: {}", ErrorChain(&error));
                return Ok(Some(Outcome::Failed { why }));
            }
            Err(error) => return Err(error),
        };
        let version = self.version_at(registered.job_modify_index).await?;
        self.report.note(&Event::Told { what: "submit", object: self.record.what.clone() });
        let state = State::Following { version, evaluation: registered.evaluation };
        match self.enter(state).await {
            Ok(()) => Ok(None),
            Err(failure) => Ok(Some(self.half_way(failure.to_string()))),
        }
    }

    /// The version that a registration made: another one may have followed at once.
    async fn version_at(&self, index: u64) -> Result<u64, NomadError> {
        let versions = self.nomad.versions(&self.record.job).await?;
        let own = versions.iter().find(|own| own.modify_index() == index);
        Ok(own.or(versions.first()).map_or(0, Job::version))
    }

    /// Writes a state down, and before a way back what can be known about its reason.
    pub(super) async fn enter(&mut self, state: State) -> Result<(), Failure> {
        if let State::Reverting { from, .. } = &state {
            for evidence in evidence::collect(&self.nomad, &self.view, *from).await {
                self.report.note(&Event::Evidence(evidence));
            }
        }
        if let State::Following { evaluation, .. } = &state {
            self.observer.follow(evaluation);
        }
        let record = Record { state: state.clone(), ..self.record.clone() };
        self.lock.write(&record).await?;
        if matches!(state, State::Reverting { .. }) {
            // The way back has its own time.
            (self.begun, self.excused) = (tokio::time::Instant::now(), std::time::Duration::ZERO);
        }
        self.record = record;
        self.report.note(&Event::Entered(state));
        Ok(())
    }
}
