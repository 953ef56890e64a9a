//! A group's allocations, sorted by what is to be done with them.
//!
//! In: what exists. Out: what is kept, moved, tried again, surplus, of an older version, missing. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::agent::evaluate::plan::FollowUp;
use crate::agent::evaluate::reschedule::{Retry, retry};
use crate::agent::evaluate::{Look, NOT_NEEDED, Plan, Rollout, changes, names};
use crate::agent::job::Group;
use crate::agent::state::{Allocation, ClientStatus, Desired, JobRecord, Trigger};

pub(super) type Allocations = Vec<Arc<Allocation>>;

/// The group's allocations by what is to be done with them.
#[derive(Default)]
pub(super) struct Sorted {
    /// Counted as instances: running, or ended and not to be tried again.
    pub(super) kept: Allocations,
    pub(super) migrating: Allocations,
    pub(super) retried: Allocations,
    pub(super) retried_later: bool,
}

/// Whether an allocation is of the job's newest version.
pub(super) fn is_current(allocation: &Allocation, record: &JobRecord) -> bool {
    allocation.job.version == record.version && allocation.job.create_index == record.create_index
}

/// Sorts what exists; failures that are tried again later get their evaluation.
pub(super) fn sort(
    look: &Look<'_>,
    record: &JobRecord,
    group: &Group,
    existing: Allocations,
    rollout: &Rollout,
    plan: &mut Plan,
) -> Sorted {
    let mut sorted = Sorted::default();
    let mut later = Vec::new();
    for one in existing {
        let is_old = !is_current(&one, record);
        if one.desired_status == Desired::Stop {
            // A batch that ended and was stopped after it stays done.
            continue;
        }
        match one.client_status {
            ClientStatus::Complete if record.job.kind.is_batch() && !is_old => {
                sorted.kept.push(one)
            }
            ClientStatus::Complete | ClientStatus::Lost => {}
            ClientStatus::Failed if record.job.kind.is_batch() && is_old => {}
            ClientStatus::Failed if !one.next_allocation.is_empty() => {}
            ClientStatus::Failed => {
                let is_rolled_out = rollout.current.as_ref().is_some_and(|deployment| {
                    deployment.is_active() && deployment.id == one.deployment_id
                });
                let is_held = is_rolled_out && one.desired_transition.reschedule != Some(true);
                match retry(&one, group.reschedule.as_ref(), look.now) {
                    Retry::Now if !is_held => sorted.retried.push(one),
                    Retry::At(at) if !is_held => {
                        sorted.retried_later = true;
                        if one.followup_eval_id.is_empty() {
                            later.push((at, one.id.clone()));
                        }
                        sorted.kept.push(one);
                    }
                    _ => sorted.kept.push(one),
                }
            }
            ClientStatus::Pending | ClientStatus::Running => {
                // What runs and is unhealthy goes on until its deployment fails: only what failed is tried again.
                if one.desired_transition.migrate == Some(true) {
                    sorted.migrating.push(one);
                } else {
                    sorted.kept.push(one);
                }
            }
        }
    }
    if let Some(at) = later.iter().map(|(at, _)| *at).min() {
        let allocations = later.into_iter().map(|(_, id)| id).collect();
        plan.follow_ups.push(FollowUp { at, trigger: Trigger::AllocFailure, allocations });
    }
    sorted
}

/// Stops what a promotion replaced, and what is more than the count.
pub(super) fn stop_surplus(
    group: &Group,
    sorted: &mut Sorted,
    canaries: &Allocations,
    is_canarying: bool,
    plan: &mut Plan,
) {
    let is_canary = |one: &Arc<Allocation>| canaries.iter().any(|canary| canary.id == one.id);
    if !is_canarying && !canaries.is_empty() {
        let numbers: BTreeSet<usize> = canaries.iter().map(|one| one.number()).collect();
        sorted.kept.retain(|one| {
            let is_replaced = !is_canary(one) && numbers.contains(&one.number());
            if is_replaced {
                plan.stop(one, NOT_NEEDED);
            }
            !is_replaced
        });
    }
    let is_beside = |one: &&Arc<Allocation>| is_canarying && (is_canary(one) || one.is_canary());
    let all = sorted.kept.iter().chain(&sorted.migrating).chain(&sorted.retried);
    let mut surplus = all.filter(|one| !is_beside(one)).count().saturating_sub(group.count);
    for list in [&mut sorted.migrating, &mut sorted.kept] {
        list.sort_by_key(|one| one.number());
        while surplus > 0 {
            let last = list.iter().rposition(|one| !is_canarying || !is_canary(one));
            let Some(last) = last else { break };
            let one = list.remove(last);
            if !one.is_terminal() {
                plan.stop(&one, NOT_NEEDED);
            }
            surplus -= 1;
        }
    }
}

/// Allocations of older versions: those that go on in place, and those that are replaced.
pub(super) fn updates(
    record: &JobRecord,
    group: &Group,
    kept: &Allocations,
    canaries: Option<&Allocations>,
) -> (Allocations, Allocations) {
    let (mut in_place, mut destructive) = (Vec::new(), Vec::new());
    for one in kept {
        let is_canary = canaries.is_some_and(|list| list.iter().any(|canary| canary.id == one.id));
        if is_current(one, record) || is_canary {
            continue;
        }
        let is_destructive = one
            .group()
            .is_none_or(|old| changes::are_destructive((&one.job.job, old), (&record.job, group)));
        if is_destructive {
            destructive.push(Arc::clone(one));
        } else if !one.is_terminal() {
            in_place.push(Arc::clone(one));
        }
    }
    (in_place, destructive)
}

/// Numbers of instances that do not exist.
pub(super) fn missing(
    group: &Group,
    sorted: &Sorted,
    canaries: &Allocations,
    is_canarying: bool,
) -> Vec<usize> {
    let is_extra =
        |one: &&Arc<Allocation>| is_canarying && canaries.iter().any(|canary| canary.id == one.id);
    let lists = [&sorted.kept, &sorted.migrating, &sorted.retried];
    let existing: Vec<usize> = lists
        .into_iter()
        .flatten()
        .filter(|one| !is_extra(one) && (!is_canarying || !one.is_canary()))
        .map(|one| one.number())
        .collect();
    let used = existing.iter().copied().collect();
    names::next(&used, group.count.saturating_sub(existing.len()))
}
