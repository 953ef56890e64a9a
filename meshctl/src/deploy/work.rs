//! What a command about a job begins and ends with: who is asked, what is known, the lock, the driving.
//!
//! In: a job, where everybody is. Out: a [`Work`], and how it ended. Used by `deploy`, `promote`, `rollback` and `stop`.
//!
//! **Invariants**: nothing is begun over somebody who is at work, or over a record that was not looked at. What is over
//! leaves no record, and where Consul does not take it away that is said.

use std::time::Duration;

use consul::ConsulClient;
use nomad::{Job, NomadClient};
use service::ErrorChain;

use super::access::NomadArgs;
use super::drive::{Driver, Limits, told_to_stop};
use super::event::Event;
use super::flags::Reach;
use super::kept::{self, Kept};
use super::lock::{Lock, is_for_later};
use super::outcome::Outcome;
use super::preflight::{self, State as Known};
use super::probe::Probe;
use super::record::{Asked, Gates, Record, State};
use super::report::Reporter;
use crate::failure::Failure;

/// How long letting go of the lock may take where the record stays: without it the lock ends by itself.
const RELEASE: Duration = Duration::from_secs(5);
/// Between tries to take a record away.
const PAUSE: Duration = Duration::from_millis(500);

/// A job, everybody who is asked about it, and what was known when the command began.
#[derive(Debug)]
pub struct Work {
    /// The job's id.
    pub job: String,
    /// Nomad, in the job's namespace.
    pub nomad: NomadClient,
    /// Control planes and sidecars.
    pub probe: Probe,
    /// Somebody's work that is under way or half-way.
    pub kept: Option<Kept>,
    /// The job as Nomad has it.
    pub state: Known,
    consul: ConsulClient,
    key: String,
}

impl Work {
    /// Looks at everything.
    ///
    /// # Errors
    /// When Nomad or Consul does not answer or refuses, or an address or a file cannot be used.
    pub async fn open(job: &str, place: &NomadArgs, reach: &Reach) -> Result<Self, Failure> {
        let (nomad, consul, probe) = (place.client()?, reach.consul.client()?, reach.probe()?);
        let key = place.record_key(job);
        let kept = Kept::read(&consul, &key).await?;
        let state = Known::read(&nomad, job).await?;
        Ok(Self { job: job.to_owned(), nomad, probe, kept, state, consul, key })
    }

    /// Refuses while somebody else is at work, before a person is asked anything.
    ///
    /// # Errors
    /// Who it is, since when.
    pub fn must_be_free(&self, now: u64) -> Result<(), Failure> {
        let me = kept::me();
        match self.kept.as_ref().filter(|own| own.is_held(&me)) {
            Some(kept) => Err(kept.refusal(&me, now)),
            None => Ok(()),
        }
    }

    /// The record of what this process begins now.
    pub fn record(
        &self,
        (command, what): (Asked, String),
        gates: Gates,
        state: State,
        now: u64,
    ) -> Record {
        Record {
            job: self.job.clone(),
            command,
            owner: kept::me(),
            started: now,
            fingerprint: what.clone(),
            what,
            before: self.state.job.as_ref().map(Job::version),
            gates,
            state,
        }
    }

    /// Takes the lock, works until it is over, and lets go; `submission`: the job, where it is to be submitted.
    ///
    /// # Errors
    /// When no control plane can say what proxies know, or the lock cannot be taken: then nothing was done.
    pub async fn carry_out(
        self,
        record: Record,
        submission: Option<Job>,
        limits: Limits,
        report: &mut Reporter<'_, '_>,
    ) -> Result<Outcome, Failure> {
        if let Some(job) = submission.as_ref().or(self.state.job.as_ref()) {
            preflight::control_planes(&self.probe, &record, job).await?;
        }
        let Self { nomad, probe, kept, consul, key, .. } = self;
        let (now, max_outage) = (report.now(), limits.max_outage);
        let lock = Lock::take(&consul, &key, &record, kept.as_ref(), now, max_outage).await?;
        if let Some(kept) = kept {
            report.note(&Event::Resumed(Box::new(kept.record)));
        }
        report.note(&Event::Locked { key: key.clone() });
        let work = (record, submission);
        let outcome = Driver::new(nomad, probe, &lock, work, limits, report).run().await;
        let is_over = outcome.is_final();
        let patience = if is_over { max_outage.max(RELEASE) } else { RELEASE };
        if let Err(why) = let_go(&lock, is_over, patience).await {
            let what = match is_over {
                true => format!(
                    "the record {key} in Consul could not be taken away ({why}): the same command, or meshctl rollback, finds that it is over and does it"
                ),
                false => format!(
                    "the lock {key} could not be let go ({why}): it ends by itself within 30 s"
                ),
            };
            report.note(&Event::Remark(what));
        }
        Ok(outcome)
    }

    /// The end of a job that Nomad does not know: what was begun never reached Nomad, or the job was purged since, and
    /// only the record is left to take away.
    ///
    /// # Errors
    /// When nothing was begun, or the record stays.
    pub async fn end_unknown(self, now: u64) -> Result<Outcome, Failure> {
        if self.kept.is_none() {
            return Err(Failure::Refused(format!("Nomad knows no job {}", self.job)));
        }
        self.forget(now).await?;
        Ok(Outcome::Stopped { purged: true })
    }

    /// Takes away the record of something that turned out to be over.
    ///
    /// # Errors
    /// When somebody works on it, or Consul does not answer.
    pub async fn forget(self, now: u64) -> Result<(), Failure> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let record = Record { owner: kept::me(), ..kept.record.clone() };
        let lock = Lock::take(&self.consul, &self.key, &record, Some(kept), now, RELEASE).await?;
        lock.release(true).await.map_err(crate::store::failure)
    }
}

/// Lets go of the lock, for so long while Consul is away; whoever is told to stop does not wait for it.
async fn let_go(lock: &Lock, forget: bool, patience: Duration) -> Result<(), String> {
    let mut last = format!("Consul did not answer within {} s", patience.as_secs());
    let tries = async {
        loop {
            match lock.release(forget).await {
                Ok(()) => return Ok(()),
                Err(error) if is_for_later(&error) => last = ErrorChain(&error).to_string(),
                Err(error) => return Err(ErrorChain(&error).to_string()),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        done = tries => return done,
        () = tokio::time::sleep(patience) => {}
        () = told_to_stop() => {}
    }
    Err(last)
}
