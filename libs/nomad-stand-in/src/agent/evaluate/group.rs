//! One group of a service or batch job: which allocations stop, go on with the new version, are replaced or added.
//!
//! The order is Nomad's: canaries that nobody wants any more stop; failed allocations are tried again; surplus stops;
//! canaries are placed before anything is replaced; then replacements, as many at a time as the update block allows.
//! There is no surge beside canaries: what is replaced stops in the same plan.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::place::{Place, Placer};
use super::{Chance, Look, NOT_NEEDED, Plan, Rollout, names};
use crate::agent::job::{Group, Update};
use crate::agent::state::{
    Allocation, Deployment, DeploymentStatus, Desired, GroupState, JobRecord,
};

mod sorted;

use sorted::{Allocations, Sorted, is_current, missing, sort, stop_surplus, updates};

const RESCHEDULED: &str = "alloc was rescheduled because it failed";
const MIGRATING: &str = "alloc is being migrated";
const UPDATING: &str = "alloc is being updated due to job update";
const IN_PLACE: &str = "alloc updating in-place";

/// What is known about a group before anything is placed.
struct Case<'a> {
    record: &'a Arc<JobRecord>,
    group: &'a Group,
    strategy: Option<&'a Update>,
    state: GroupState,
    sorted: Sorted,
    canaries: Allocations,
    in_place: Allocations,
    destructive: Allocations,
    places: Vec<Place>,
}

/// Decides about a group; whether nothing is left to do for its deployment.
pub(super) fn reconcile(
    look: &Look<'_>,
    record: &Arc<JobRecord>,
    group: &Group,
    mut existing: Allocations,
    rollout: &mut Rollout,
    plan: &mut Plan,
    chance: &mut dyn Chance,
) -> bool {
    let strategy = group.strategy().filter(|_| !record.job.kind.is_batch());
    let known = rollout.current.as_ref().and_then(|one| one.task_groups.get(&group.name)).cloned();
    let is_known = known.is_some();
    let state = known.unwrap_or_else(|| group_state(strategy));
    let had_running = existing.iter().any(|one| is_current(one, record));
    existing.retain(|one| {
        // Also one that has failed: it is no instance that would be tried again, or counted.
        let is_orphan = rollout.orphans.contains(&one.id);
        if is_orphan && one.desired_status != Desired::Stop {
            plan.stop(one, NOT_NEEDED);
        }
        !is_orphan
    });
    let mut sorted = sort(look, record, group, existing, rollout, plan);
    let is_placed = |one: &&Arc<Allocation>| state.placed_canaries.contains(&one.id);
    let canaries: Allocations = sorted.kept.iter().filter(is_placed).cloned().collect();
    let is_canarying = state.needs_promotion();
    stop_surplus(group, &mut sorted, &canaries, is_canarying, plan);
    let (in_place, mut destructive) =
        updates(record, group, &sorted.kept, is_canarying.then_some(&canaries));
    destructive.sort_by_key(|one| one.number());
    let places = Vec::new();
    let mut case =
        Case { record, group, strategy, state, sorted, canaries, in_place, destructive, places };
    let needs_canaries = case.place_canaries(rollout, plan);
    case.place_instances(rollout, plan, is_known);

    let is_complete = case.is_settled() && !needs_canaries;
    let updates_spec = !case.destructive.is_empty() || !case.in_place.is_empty();
    let is_rolled_out =
        strategy.is_some() && case.state.desired_total > 0 && (!had_running || updates_spec);
    if is_known || is_rolled_out {
        join(look, record, rollout, group, case.state, chance);
    }
    let deployment = rollout.current.as_ref().filter(|_| !rollout.has_failed);
    let deployment = deployment.map(|one| one.id.clone());
    for old in case.in_place {
        plan.updates.push(Allocation {
            job: Arc::clone(record),
            desired_description: IN_PLACE.to_owned(),
            deployment_id: deployment.clone().unwrap_or_default(),
            deployment_status: None,
            ..Allocation::clone(&old)
        });
    }
    let mut placer = Placer { look, record, group, deployment, chance };
    for place in case.places {
        placer.place(place, plan);
    }
    is_complete
}

impl Case<'_> {
    /// Canaries come first; whether some are still missing.
    fn place_canaries(&mut self, rollout: &Rollout, plan: &mut Plan) -> bool {
        let wanted = self.strategy.map_or(0, |strategy| strategy.canary);
        // A canary that failed is replaced by its own retry.
        let is_placed = |one: &&Arc<Allocation>| self.state.placed_canaries.contains(&one.id);
        let placed = self.canaries.len() + self.sorted.retried.iter().filter(is_placed).count();
        let is_needed = wanted > placed
            && !self.destructive.is_empty()
            && !self.state.promoted
            && !rollout.has_failed;
        if !is_needed {
            return false;
        }
        self.state.desired_canaries = wanted;
        if !rollout.is_paused {
            let numbers =
                |list: &Allocations| list.iter().map(|one| one.number()).collect::<BTreeSet<_>>();
            let (replaced, used) = (numbers(&self.destructive), numbers(&self.canaries));
            let numbers = names::canaries(&replaced, &used, wanted - placed);
            plan.count(&self.group.name).canary += numbers.len();
            self.places.extend(numbers.into_iter().map(|number| Place::new(number).canary()));
        }
        true
    }

    /// Retries, missing instances, replacements and moves, each as far as the deployment allows.
    fn place_instances(&mut self, rollout: &Rollout, plan: &mut Plan, is_known: bool) {
        let is_canarying = self.state.needs_promotion();
        let may_place = !rollout.is_paused && !rollout.has_failed && !is_canarying;
        let limit = limit(self.group, &self.sorted, self.destructive.len(), is_canarying, rollout);
        let missing = missing(self.group, &self.sorted, &self.canaries, is_canarying);
        if !is_known {
            let retried = self.sorted.retried.len();
            self.state.desired_total +=
                self.in_place.len() + self.destructive.len() + missing.len() + retried;
        }
        self.retry(rollout, plan, may_place, is_canarying);
        let mut left = limit;
        if may_place || rollout.current.is_none() {
            plan.count(&self.group.name).place += missing.len();
            left = left.saturating_sub(missing.len());
            self.places.extend(missing.into_iter().map(Place::new));
        } else if is_canarying {
            // Stable instances that are missing come back in the version of the others.
            let stable = self.sorted.kept.iter().find(|one| !one.is_canary());
            let stable = stable.map(|one| Arc::clone(&one.job));
            let old = |number| Some(Place::new(number).with(stable.clone()?));
            self.places.extend(missing.into_iter().filter_map(old));
        }
        let replaced = if may_place { self.destructive.len().min(left) } else { 0 };
        for old in self.destructive.iter().take(replaced) {
            self.places.push(Place::after(old).instead(UPDATING));
        }
        for moved in &self.sorted.migrating {
            plan.end(moved, MIGRATING);
            let version = migrated_version(moved, self.record, is_canarying);
            self.places.push(Place::after(moved).with(version));
        }
        let counts = plan.count(&self.group.name);
        (counts.destructive_update, counts.migrate) = (replaced, self.sorted.migrating.len());
        counts.in_place_update = self.in_place.len();
        counts.ignore = self.sorted.kept.len().saturating_sub(replaced + self.in_place.len());
    }

    /// While canaries prove themselves, and after a failure, only what failed outside the deployment is replaced.
    fn retry(&mut self, rollout: &Rollout, plan: &mut Plan, may_place: bool, is_canarying: bool) {
        for failed in &self.sorted.retried {
            let current = rollout.current.as_ref();
            let is_of_failed =
                rollout.has_failed && current.is_some_and(|one| one.id == failed.deployment_id);
            if !may_place && is_of_failed {
                continue;
            }
            plan.end(failed, RESCHEDULED);
            let place = Place::after(failed).rescheduled();
            let keeps_version = is_canarying && !failed.is_canary();
            self.places.push(if keeps_version {
                place.with(Arc::clone(&failed.job))
            } else {
                place
            });
            plan.count(&self.group.name).place += 1;
        }
    }

    /// Whether the group is as its deployment wants it.
    fn is_settled(&self) -> bool {
        self.destructive.is_empty()
            && self.in_place.is_empty()
            && self.places.is_empty()
            && !self.sorted.retried_later
            && self.state.healthy_allocs
                >= self.state.desired_total.max(self.state.desired_canaries)
            && !self.state.needs_promotion()
    }
}

fn group_state(strategy: Option<&Update>) -> GroupState {
    strategy.map_or_else(GroupState::new, |strategy| GroupState {
        auto_revert: strategy.auto_revert,
        auto_promote: strategy.auto_promote,
        progress_deadline: strategy.progress_deadline,
        ..GroupState::new()
    })
}

/// How many may be replaced now.
fn limit(
    group: &Group,
    sorted: &Sorted,
    destructive: usize,
    is_canarying: bool,
    rollout: &Rollout,
) -> usize {
    let Some(strategy) = group.strategy() else { return usize::MAX };
    if destructive + sorted.migrating.len() == 0 {
        return group.count;
    }
    if is_canarying || rollout.is_paused || rollout.has_failed {
        return 0;
    }
    let Some(deployment) = &rollout.current else { return strategy.max_parallel };
    let mut limit = strategy.max_parallel;
    for one in sorted.kept.iter().filter(|one| one.deployment_id == deployment.id) {
        match one.healthy() {
            Some(true) => {}
            Some(false) => return 0,
            None => limit = limit.saturating_sub(1),
        }
    }
    limit
}

fn migrated_version(
    moved: &Allocation,
    record: &Arc<JobRecord>,
    is_canarying: bool,
) -> Arc<JobRecord> {
    if is_canarying || is_current(moved, record) {
        Arc::clone(&moved.job)
    } else {
        Arc::clone(record)
    }
}

/// Puts the group's state into the deployment, which is made if there is none.
fn join(
    look: &Look<'_>,
    record: &JobRecord,
    rollout: &mut Rollout,
    group: &Group,
    state: GroupState,
    chance: &mut dyn Chance,
) {
    let is_new = rollout.current.is_none();
    rollout.is_new |= is_new;
    let deployment = rollout.current.get_or_insert_with(|| Deployment {
        id: chance.id(),
        namespace: record.job.namespace.clone(),
        job_id: record.job.id.clone(),
        job_version: record.version,
        job_modify_index: record.modify_index,
        job_spec_modify_index: record.job_modify_index,
        job_create_index: record.create_index,
        is_multiregion: false,
        task_groups: std::collections::BTreeMap::new(),
        status: DeploymentStatus::Running,
        status_description: "Deployment is running".to_owned(),
        eval_priority: record.job.priority,
        create_index: 0,
        modify_index: 0,
        create_time: look.now,
        modify_time: look.now,
    });
    deployment.task_groups.insert(group.name.clone(), state);
}
