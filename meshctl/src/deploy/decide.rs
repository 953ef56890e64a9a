//! What to do next: the whole judgement of a deploy, without a clock, a network or a memory of its own.
//!
//! In: the [`Record`] (what was last begun), a [`View`] (what is observed now), how long it may take. Out: one [`Step`].
//! Called by [`super::drive`] again and again until a step ends it.
//!
//! ```text
//!  submitting ──▶ following ──▶ promoting ──▶ (rolls out, proxies know) ──▶ deployed
//!                  │    │  └▶ awaiting_promotion ─▶ promoting
//!                  ▼    ▼                │
//!                 reverting ◀────────────┘      stopping ──▶ stopped
//! ```
//!
//! **Invariants**
//! - Same record and view, same step: a deploy that was killed goes on where it was.
//! - What changes something in Nomad comes after the state that says so was written ([`Step::Enter`]).
//! - A step that was carried out already is not decided again, because the view shows its effect.

use std::time::Duration;

use super::mesh::Question;
use super::outcome::Outcome;
use super::record::{Asked, Record, State};
use super::view::{View, canaries, needs_promotion, progress};
use nomad::Deployment;

mod back;
mod batch;
mod known;
mod trouble;

pub use trouble::{ailment, is_given_up, no_room};

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Hand the job to Nomad, if its modify index is still this.
    Submit {
        /// What check-and-set names.
        index: u64,
    },
    /// Write down that this begins.
    Enter(State),
    /// Ask all control planes.
    AskMesh(Question),
    /// Read the sidecars' statistics once more.
    Measure {
        /// The new version.
        version: u64,
    },
    /// Promote the canaries.
    Promote {
        /// The deployment's id.
        deployment: String,
    },
    /// End the deployment as failed.
    Fail {
        /// The deployment's id.
        deployment: String,
    },
    /// Register an older version anew.
    Revert {
        /// The version gone back to.
        to: u64,
        /// The version that must be in force.
        from: u64,
    },
    /// Stop the job.
    Stop,
    /// Let Nomad forget the job, which runs nowhere any more.
    Purge,
    /// Nothing, until something changes.
    Wait {
        /// Where the change will be seen.
        on: Source,
        /// What is awaited, for people.
        what: String,
    },
    /// It is over, or a person is asked.
    End(Outcome),
}

/// Where a change will be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In Nomad.
    Nomad,
    /// In what proxies have.
    Mesh,
    /// In the sidecars' statistics.
    Sidecars,
}

impl Source {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nomad => "nomad",
            Self::Mesh => "mesh",
            Self::Sidecars => "sidecars",
        }
    }
}

/// How long, and for whom, it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Time since this run began, without the time in which a person was waited for.
    pub elapsed: Duration,
    /// When it is too much.
    pub timeout: Duration,
    /// Whether a person's answer is awaited; otherwise the command ends and is repeated later.
    pub awaits_person: bool,
}

/// Everything that a decision is made from.
struct Case<'a> {
    record: &'a Record,
    view: &'a View,
    patience: Patience,
}

/// How far the gates are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gate {
    Closed,
    Awaiting,
    Open,
}

/// The next step.
pub fn decide(record: &Record, view: &View, patience: Patience) -> Step {
    let case = Case { record, view, patience };
    match &record.state {
        State::Submitting { index } => case.submitting(*index),
        State::Following { version, evaluation } => {
            let placing = case.placed(*version, evaluation);
            let step = placing.unwrap_or_else(|| case.follow(*version, Gate::Closed));
            case.in_time(*version, step)
        }
        State::AwaitingPromotion { version, .. } => case.follow(*version, Gate::Awaiting),
        State::Promoting { version } => case.in_time(*version, case.follow(*version, Gate::Open)),
        State::Reverting { from, to, why } => case.back(*from, *to, why),
        State::Stopping { purge } => case.stopping(*purge),
    }
}

impl Case<'_> {
    /// Check-and-set makes a repetition harmless; what is in force says whether one is needed.
    fn submitting(&self, index: u64) -> Step {
        let in_force = self.view.job.as_ref().map_or(0, nomad::Job::modify_index);
        match (&self.view.job, self.view.is_in_force) {
            (Some(job), Some(true)) if in_force > index => Step::Enter(State::Following {
                version: job.version(),
                evaluation: String::new(),
            }),
            _ if in_force == index => Step::Submit { index },
            (Some(job), _) => self.failed(format!(
                "the job was changed meanwhile: version {} is in force, which is neither the one before nor this file; nothing more is done",
                job.version()
            )),
            (None, _) => self.failed("the job was purged meanwhile".to_owned()),
        }
    }

    /// What the evaluation says before there is anything else to see.
    fn placed(&self, version: u64, id: &str) -> Option<Step> {
        let evaluation = self.view.evaluation.as_ref().filter(|own| own.id == id)?;
        match evaluation.status.as_str() {
            "failed" => {
                let why = format!("its evaluation failed: {}", evaluation.status_description);
                Some(if self.is_batch() { self.failed(why) } else { self.turn_back(version, why) })
            }
            // One that is canceled gave way to a later one of the same job, which places what this one would have.
            "complete" | "canceled" => None,
            _ => Some(self.wait(Source::Nomad, "Nomad looks for places".to_owned())),
        }
    }

    fn follow(&self, version: u64, gate: Gate) -> Step {
        let Some(job) = &self.view.job else {
            return self.failed("the job was purged by somebody else".to_owned());
        };
        let deployment = self.view.deployment_of(version);
        let has_failed = |own: &Deployment| own.status == "failed";
        if let Some(deployment) = deployment.filter(|own| has_failed(own)) {
            return self.turn_back(version, self.blame(version, &deployment.status_description));
        }
        if job.is_stopped() {
            return self.failed("the job was stopped by somebody else".to_owned());
        }
        if job.version() != version {
            return self.failed(format!(
                "version {version} was replaced by version {}, which somebody else registered",
                job.version()
            ));
        }
        if self.is_batch() {
            return self.batch(version).unwrap_or(Step::End(Outcome::Deployed { version }));
        }
        if let Some(why) = self.misfortune(version) {
            return self.turn_back(version, why);
        }
        match deployment {
            Some(own) if own.status == "successful" => self.arrive(version),
            None if self.view.is_settled(version) => self.arrive(version),
            None => self.wait(Source::Nomad, self.unplaced("instances start".to_owned())),
            Some(own) => self.underway(own, version, gate),
        }
    }

    /// The step, unless it is to wait and the time is over.
    fn in_time(&self, version: u64, step: Step) -> Step {
        match step {
            Step::Wait { what, .. } if self.is_late() => {
                let after = self.patience.timeout.as_secs();
                let why = format!("not done after {after} s: {what}");
                if self.is_batch() { self.unstarted(why) } else { self.turn_back(version, why) }
            }
            step => step,
        }
    }

    /// A deployment that is neither over nor failing.
    fn underway(&self, deployment: &Deployment, version: u64, gate: Gate) -> Step {
        if deployment.status == "paused" {
            return self.wait(Source::Nomad, "somebody paused the deployment".to_owned());
        }
        if !needs_promotion(deployment) {
            if gate == Gate::Awaiting {
                // A person has promoted it: nobody is waited for any more.
                return Step::Enter(State::Promoting { version });
            }
            let (healthy, wanted) = progress(deployment);
            let what = format!("{healthy} of {wanted} instances are healthy");
            return self.wait(Source::Nomad, self.unplaced(what));
        }
        let (healthy, wanted) = canaries(deployment);
        if healthy < wanted {
            let what = format!("{healthy} of {wanted} new instances are healthy");
            return self.wait(Source::Nomad, self.unplaced(what));
        }
        if let Some(step) = self.until_known(version, &[]) {
            return step;
        }
        match gate {
            Gate::Open => Step::Promote { deployment: deployment.id.clone() },
            Gate::Awaiting if self.patience.awaits_person => {
                self.wait(Source::Nomad, "a person promotes or rolls back".to_owned())
            }
            Gate::Awaiting => {
                let why = match &self.record.state {
                    State::AwaitingPromotion { why, .. } => why.clone(),
                    _ => String::new(),
                };
                Step::End(Outcome::AwaitingPromotion { version, why })
            }
            Gate::Closed => self.gates(version),
        }
    }

    /// Nomad is done; now every proxy has to know who is there and who is not.
    fn arrive(&self, version: u64) -> Step {
        match self.until_known(version, &self.gone(version)) {
            None => Step::End(Outcome::Deployed { version }),
            Some(Step::Wait { what, .. }) if self.is_late() => Step::End(Outcome::HalfWay {
                state: "unconverged".to_owned(),
                why: format!("version {version} runs and is healthy, but {what}"),
                next: "look at those proxies (meshctl get proxies); the same command waits again"
                    .to_owned(),
            }),
            Some(step) => step,
        }
    }

    fn is_late(&self) -> bool {
        self.patience.elapsed >= self.patience.timeout
    }

    fn wait(&self, on: Source, what: String) -> Step {
        Step::Wait { on, what }
    }

    fn failed(&self, why: String) -> Step {
        Step::End(Outcome::Failed { why })
    }

    fn turn_back(&self, from: u64, why: String) -> Step {
        Step::Enter(State::Reverting { from, to: self.record.before, why })
    }

    fn is_rollback(&self) -> bool {
        self.record.command == Asked::Rollback
    }
}

#[cfg(test)]
mod tests;
