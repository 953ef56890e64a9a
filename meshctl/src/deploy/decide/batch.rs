//! Batches: jobs whose tasks end.
//!
//! They have no deployments and nothing takes over from them: one is done when its tasks run or have ended well, and one
//! that is dispatched or that a clock starts when it is registered.
//!
//! **Invariants**: a deploy that fails never registers an older version of a batch, because that would run it once more.

use super::super::outcome::Outcome;
use super::{Case, Source, Step};

impl Case<'_> {
    /// Whether the job's tasks end.
    pub(super) fn is_batch(&self) -> bool {
        self.view.job.as_ref().is_some_and(|job| matches!(job.kind(), "batch" | "sysbatch"))
    }

    /// What is left to do for a version of a batch; `None`: nothing.
    pub(super) fn batch(&self, version: u64) -> Option<Step> {
        let job = self.view.job.as_ref()?;
        if job.is_parameterized() || job.is_periodic() {
            return None;
        }
        if let Some(why) = self.misfortune(version) {
            return Some(self.failed(why));
        }
        // What was replaced says nothing any more.
        let own = self.view.of_version(version).filter(|own| own.next.is_empty());
        let mut own = own.peekable();
        let what = match own.peek() {
            None => self.unplaced("Nomad looks for places".to_owned()),
            Some(_) => "its tasks start".to_owned(),
        };
        let runs =
            |own: &nomad::Allocation| matches!(own.client_status.as_str(), "running" | "complete");
        let is_done = own.peek().is_some() && own.all(runs);
        (!is_done).then(|| self.wait(Source::Nomad, what))
    }

    /// The end of a batch that has not begun in time: it stays registered and may still run.
    pub(super) fn unstarted(&self, why: String) -> Step {
        Step::End(Outcome::HalfWay {
            state: self.record.state.name().to_owned(),
            why,
            next: format!(
                "it runs as soon as it can: the same command waits again, meshctl stop {} takes it away",
                self.record.job
            ),
        })
    }
}
