//! One group of a system job: an instance on each node that may have one.
//!
//! As Nomad before 1.11 there is no deployment: a new version replaces `max_parallel` instances, and the next ones after
//! `stagger`. A node that may not have the group, or is drained, is not a failure.

use std::sync::Arc;

use super::place::feasible::refusal;
use super::place::{Place, Placer};
use super::plan::FollowUp;
use super::{Chance, Look, NOT_NEEDED, Plan, changes};
use crate::agent::job::Group;
use crate::agent::state::{Allocation, ClientStatus, Desired, JobRecord, Trigger};

/// Decides about a group of a system job.
pub(super) fn reconcile(
    look: &Look<'_>,
    record: &Arc<JobRecord>,
    group: &Group,
    existing: &[Arc<Allocation>],
    plan: &mut Plan,
    chance: &mut dyn Chance,
) {
    let mut limit = group.strategy().map_or(usize::MAX, |update| update.max_parallel);
    let mut is_held = false;
    let mut places = Vec::new();
    for node in look.state.nodes.values() {
        let here = existing.iter().filter(|one| one.node_id == node.id);
        let live = here.clone().find(|one| !one.is_terminal());
        let is_done = record.job.kind.is_batch()
            && here.clone().any(|one| {
                one.desired_status == Desired::Run
                    && one.client_status == ClientStatus::Complete
                    && one.job.version == record.version
            });
        let Some(live) = live else {
            if !is_done && refusal(&record.job, group, node, look.state, plan).is_none() {
                plan.count(&group.name).place += 1;
                places.push(Place::new(0).on(node));
            }
            continue;
        };
        if live.desired_transition.migrate == Some(true) {
            plan.stop(live, "alloc not needed as node is tainted");
        } else if live.job.version == record.version && live.job.create_index == record.create_index
        {
            plan.count(&group.name).ignore += 1;
        } else if live
            .group()
            .is_none_or(|old| changes::are_destructive((&live.job.job, old), (&record.job, group)))
        {
            if limit == 0 {
                is_held = true;
                plan.count(&group.name).ignore += 1;
                continue;
            }
            limit -= 1;
            plan.count(&group.name).destructive_update += 1;
            let place = Place::after(live).instead("alloc is being updated due to job update");
            places.push(place.on(node));
        } else if refusal(&record.job, group, node, look.state, plan).is_some() {
            plan.stop(live, NOT_NEEDED);
        } else {
            plan.count(&group.name).in_place_update += 1;
            plan.updates.push(Allocation { job: Arc::clone(record), ..Allocation::clone(live) });
        }
    }
    let mut placer = Placer { look, record, group, deployment: None, chance };
    for place in places {
        placer.place(place, plan);
    }
    if is_held {
        let stagger = group.update.as_ref().map_or(0, |update| update.stagger);
        let at = look.now + stagger;
        plan.follow_ups.push(FollowUp {
            at,
            trigger: Trigger::RollingUpdate,
            allocations: Vec::new(),
        });
    }
}
