//! Ways back: to the version before, or to nothing.
//!
//! Nomad's own `auto_revert`, a failed deployment and a rollback end in the same place: an older version is registered
//! anew and brings itself up. That version has an update block of its own: with `canary` in it, its deployment waits for
//! a promotion whenever instances have to be replaced. Whoever goes back here promotes it, so that it never waits for ever.

use super::super::outcome::Outcome;
use super::super::view::{canaries, needs_promotion, progress};
use super::{Case, Source, Step};
use nomad::Deployment;

impl Case<'_> {
    pub(super) fn back(&self, from: u64, to: Option<u64>, why: &str) -> Step {
        let Some(job) = &self.view.job else {
            return match to {
                None => self.nothing_left(why, true),
                Some(_) => self.failed(format!("{why}; then the job was purged by somebody else")),
            };
        };
        let Some(to) = to else {
            return self.vanish().unwrap_or_else(|| self.nothing_left(why, false));
        };
        // A rollback may begin with a job that was stopped before.
        let is_asked = self.is_rollback() && job.version() == from;
        if job.is_stopped() && !is_asked {
            return self.failed(format!("{why}; then the job was stopped by somebody else"));
        }
        let version = job.version();
        match self.view.is_in_force {
            Some(true) => return self.bring_back(version, to, why),
            // Nomad keeps that version no longer: the numbers have to do.
            None if version != from => return self.bring_back(version, to, why),
            Some(false) if self.has_reverted(from, version) => {
                return self.bring_back(version, to, why);
            }
            Some(false) if version != from => {
                return self.failed(format!(
                    "{why}; then somebody else registered version {version}, which is not what version {to} was: nothing more is done"
                ));
            }
            Some(false) | None => {}
        }
        let unfinished = self.view.deployment_of(from).filter(|own| !own.is_over());
        match unfinished {
            Some(own) if !self.is_rollback() => Step::Fail { deployment: own.id.clone() },
            _ => Step::Revert { to, from },
        }
    }

    /// Whether Nomad itself went back from one version to the next, by its own choice of an older one.
    fn has_reverted(&self, from: u64, version: u64) -> bool {
        let says =
            |own: &Deployment| own.status_description.contains("rolling back to job version");
        version == from + 1 && self.view.deployment_of(from).is_some_and(says)
    }

    /// Follows the older version, which is now this one.
    fn bring_back(&self, version: u64, to: u64, why: &str) -> Step {
        let half_way = |what: String| {
            Step::End(Outcome::HalfWay {
                state: "reverting".to_owned(),
                why: format!("{why}; and going back to version {to} does not end: {what}"),
                next: format!(
                    "look at it with meshctl status {0}; meshctl rollback {0} waits again, and --to-version goes further back",
                    self.record.job
                ),
            })
        };
        let step = match self.view.deployment_of(version) {
            Some(own) if matches!(own.status.as_str(), "failed" | "cancelled") => {
                return half_way(own.status_description.clone());
            }
            Some(own) if own.status != "successful" => self.reviving(own, version),
            _ => {
                let known = || self.until_known(version, &self.gone(version));
                self.settling(version, to).or_else(known).unwrap_or_else(|| {
                    let why = why.to_owned();
                    Step::End(if self.is_rollback() {
                        Outcome::RolledBack { to, version }
                    } else {
                        Outcome::Reverted { why, version: Some(version) }
                    })
                })
            }
        };
        match step {
            Step::Wait { what, .. } if self.is_late() => half_way(what),
            step => step,
        }
    }

    /// What is left until the older version is wherever it is to be; `None`: nothing.
    fn settling(&self, version: u64, to: u64) -> Option<Step> {
        if self.is_batch() {
            return self.batch(version);
        }
        let comes_back = || self.wait(Source::Nomad, format!("version {to} comes back"));
        (!self.view.is_settled(version)).then(comes_back)
    }

    /// Its own update block may ask for a promotion; here that is only a step on the way.
    fn reviving(&self, deployment: &Deployment, version: u64) -> Step {
        if needs_promotion(deployment) {
            let (healthy, wanted) = canaries(deployment);
            if healthy < wanted {
                let what =
                    format!("{healthy} of {wanted} instances of the old version are healthy");
                return self.wait(Source::Nomad, what);
            }
            let promote = Step::Promote { deployment: deployment.id.clone() };
            return self.until_known(version, &[]).unwrap_or(promote);
        }
        let (healthy, wanted) = progress(deployment);
        self.wait(
            Source::Nomad,
            format!("{healthy} of {wanted} instances of the old version are healthy"),
        )
    }

    /// Nothing ran before, and nothing runs after: for a rollback that is what was asked for.
    fn nothing_left(&self, why: &str, purged: bool) -> Step {
        Step::End(if self.is_rollback() {
            Outcome::Stopped { purged }
        } else {
            Outcome::Reverted { why: why.to_owned(), version: None }
        })
    }

    pub(super) fn stopping(&self, purge: bool) -> Step {
        let Some(_) = &self.view.job else {
            return Step::End(Outcome::Stopped { purged: purge });
        };
        match self.vanish() {
            Some(Step::Wait { what, .. }) if self.is_late() => Step::End(Outcome::HalfWay {
                state: "stopping".to_owned(),
                why: what,
                next: "the same command waits again".to_owned(),
            }),
            Some(step) => step,
            // Nomad collects a purged job's allocations in its own time, so they have to be over before.
            None if purge => Step::Purge,
            None => Step::End(Outcome::Stopped { purged: false }),
        }
    }

    /// Stops the job and waits until nothing of it runs and no proxy knows of it; `None`: so it is.
    fn vanish(&self) -> Option<Step> {
        let job = self.view.job.as_ref()?;
        if !job.is_stopped() {
            return Some(Step::Stop);
        }
        let alive = self.view.alive().count();
        if alive > 0 {
            let what = match alive {
                1 => "1 instance answers what it has and ends".to_owned(),
                many => format!("{many} instances answer what they have and end"),
            };
            return Some(self.wait(Source::Nomad, what));
        }
        let all: Vec<_> = self.view.allocations.iter().collect();
        self.until_known(job.version(), &all)
    }
}
