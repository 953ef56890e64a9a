//! The scheduler: what is to happen for a job, given what is known.
//!
//! In: a [`State`], an evaluation's job, the time, and [`Chance`] for what must be fresh. Out: a [`Plan`]; nothing is
//! changed here. Modules in reading order: [`plan`] is the outcome, [`group`] decides for a group of a service or batch
//! job, [`system`] for one of a system job, [`changes`] says whether a new version replaces allocations, [`reschedule`]
//! when a failed one is tried again, [`place`] finds nodes and ports.
//!
//! Deliberately absent: scores, preemption, affinities, spreads, device and volume placement. Of the nodes that fit, the one
//! with the fewest instances of the group wins.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::job::Nanos;
use super::state::{Allocation, Deployment, DeploymentStatus, JobRecord, State};

pub(crate) mod changes;
mod group;
mod names;
pub(crate) mod place;
pub(crate) mod plan;
mod reschedule;
mod system;

pub(crate) use plan::{Apply, Plan};

/// What is not a function of the state: fresh ids, and which ports of the host are free.
pub(crate) trait Chance {
    /// A fresh UUID.
    fn id(&mut self) -> String;
    /// A port of Nomad's dynamic range that is free now and that `is_taken` does not name.
    fn port(&mut self, address: IpAddr, is_taken: &dyn Fn(u16) -> bool) -> Option<u16>;
}

/// One look at a job.
pub(crate) struct Look<'a> {
    pub(crate) state: &'a State,
    pub(crate) eval_id: &'a str,
    pub(crate) job_id: &'a str,
    pub(crate) now: Nanos,
}

/// The deployment of the current version, and how it limits what may happen.
pub(super) struct Rollout {
    /// Of the current version; also a failed one.
    pub(super) current: Option<Deployment>,
    /// Whether [`Rollout::current`] was made by this look.
    pub(super) is_new: bool,
    /// Canaries that nobody wants any more: of a deployment that was not promoted and is over.
    pub(super) orphans: Vec<String>,
    pub(super) is_paused: bool,
    pub(super) has_failed: bool,
}

/// Decides about one job.
pub(crate) fn evaluate(look: &Look<'_>, chance: &mut dyn Chance) -> Plan {
    let mut plan = Plan::default();
    let record = look.state.jobs.get(look.job_id);
    let allocations: Vec<Arc<Allocation>> =
        look.state.allocations_of(look.job_id).map(Arc::clone).collect();
    let mut rollout = rollout(look, record.map(Arc::as_ref), &mut plan);
    let Some(record) = record.filter(|record| !record.stop && !record.job.is_template()) else {
        for allocation in allocations.iter().filter(|one| !one.is_terminal()) {
            plan.stop(allocation, NOT_NEEDED);
        }
        return plan;
    };
    let mut groups: BTreeMap<&str, Vec<Arc<Allocation>>> = BTreeMap::new();
    for allocation in &allocations {
        groups.entry(&allocation.task_group).or_default().push(Arc::clone(allocation));
    }
    let mut is_complete = true;
    for group in &record.job.task_groups {
        let existing = groups.remove(group.name.as_str()).unwrap_or_default();
        if record.job.kind.is_system() {
            system::reconcile(look, record, group, &existing, &mut plan, chance);
        } else {
            is_complete &=
                group::reconcile(look, record, group, existing, &mut rollout, &mut plan, chance);
        }
    }
    // Groups that the job no longer has.
    for allocation in groups.values().flatten().filter(|one| !one.is_terminal()) {
        plan.stop(allocation, NOT_NEEDED);
    }
    finish(rollout, is_complete, look.now, &mut plan);
    plan
}

pub(super) const NOT_NEEDED: &str = "alloc not needed due to job update";

fn rollout(look: &Look<'_>, record: Option<&JobRecord>, plan: &mut Plan) -> Rollout {
    let latest =
        look.state.latest_deployment(look.job_id).map(|deployment| Deployment::clone(deployment));
    let mut rollout = Rollout {
        current: None,
        is_new: false,
        orphans: Vec::new(),
        is_paused: false,
        has_failed: false,
    };
    let Some(deployment) = latest else { return rollout };
    let is_stopped = record.is_none_or(|record| record.stop);
    let is_current = !is_stopped
        && record.is_some_and(|record| {
            deployment.job_version == record.version
                && deployment.job_create_index == record.create_index
        });
    let is_over = !is_current || deployment.status == DeploymentStatus::Failed;
    if is_over {
        let unpromoted = deployment.task_groups.values().filter(|group| group.needs_promotion());
        rollout.orphans.extend(unpromoted.flat_map(|group| group.placed_canaries.iter().cloned()));
    }
    if !is_current {
        if deployment.is_active() {
            let why = if is_stopped {
                "Cancelled because job is stopped"
            } else {
                "Cancelled due to newer version of job"
            };
            plan.deployments.push(Deployment {
                status: DeploymentStatus::Cancelled,
                status_description: why.to_owned(),
                modify_time: look.now,
                ..deployment
            });
        }
        return rollout;
    }
    if deployment.status == DeploymentStatus::Successful {
        return rollout;
    }
    rollout.is_paused = deployment.status == DeploymentStatus::Paused;
    rollout.has_failed = !deployment.is_active();
    rollout.current = Some(deployment);
    rollout
}

/// Writes the deployment that the groups left behind, complete or not.
fn finish(rollout: Rollout, is_complete: bool, now: Nanos, plan: &mut Plan) {
    let Some(mut deployment) = rollout.current else { return };
    if rollout.has_failed {
        return;
    }
    if is_complete && !rollout.is_new {
        deployment.status = DeploymentStatus::Successful;
        deployment.status_description = "Deployment completed successfully".to_owned();
    } else if !rollout.is_paused && deployment.needs_promotion() {
        let is_automatic = deployment
            .task_groups
            .values()
            .filter(|one| one.desired_canaries > 0)
            .all(|one| one.auto_promote);
        deployment.status_description = if is_automatic {
            "Deployment is running pending automatic promotion"
        } else {
            "Deployment is running but requires manual promotion"
        }
        .to_owned();
    } else if !rollout.is_paused {
        deployment.status_description = "Deployment is running".to_owned();
    }
    deployment.modify_time = now;
    plan.deployments.push(deployment);
}
