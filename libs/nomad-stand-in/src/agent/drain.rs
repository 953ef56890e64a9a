//! Drains: allocations leave a node, as many at a time as their group's `migrate` block allows.
//!
//! In: a state with draining nodes, the time. Out: allocations marked for migration, with an evaluation of their jobs, and the
//! end of drains whose node is empty. Batch allocations may end by themselves until the deadline; system jobs go last.
//! A drained node stays ineligible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::deployment::look;
use super::evaluate::Chance;
use super::job::Nanos;
use super::state::{Allocation, Drain, Node, State, Trigger};

/// Moves every drain on; whether anything was done.
pub(crate) fn advance(state: &mut State, now: Nanos, chance: &mut dyn Chance) -> bool {
    let draining: Vec<Arc<Node>> =
        state.nodes.values().filter(|node| node.drain.is_some()).map(Arc::clone).collect();
    let mut has_acted = false;
    for node in draining {
        let Some(drain) = node.drain.clone() else { continue };
        has_acted |= advance_one(state, &node, &drain, now, chance);
    }
    has_acted
}

fn advance_one(
    state: &mut State,
    node: &Node,
    drain: &Drain,
    now: Nanos,
    chance: &mut dyn Chance,
) -> bool {
    let is_forced =
        drain.deadline < 0 || (drain.deadline > 0 && drain.started_at + drain.deadline <= now);
    let (system, ordinary): (Vec<_>, Vec<_>) = state
        .allocations
        .values()
        .filter(|one| one.node_id == node.id && !one.client_status.is_terminal())
        .map(Arc::clone)
        .partition(|one| one.job.job.kind.is_system());
    let system = if drain.ignore_system_jobs { Vec::new() } else { system };
    if ordinary.is_empty() && system.is_empty() {
        state.put_node(Node { drain: None, is_eligible: false, ..node.clone() });
        return true;
    }
    let mut moved: Vec<Arc<Allocation>> = Vec::new();
    if ordinary.is_empty() {
        moved.extend(system);
    } else if is_forced {
        moved.extend(ordinary);
    } else {
        let mut groups: BTreeMap<(String, String), Vec<Arc<Allocation>>> = BTreeMap::new();
        for one in ordinary.into_iter().filter(|one| !one.job.job.kind.is_batch()) {
            groups.entry((one.job_id.clone(), one.task_group.clone())).or_default().push(one);
        }
        for ((job, group), here) in groups {
            let allowed = allowed(state, &job, &group);
            moved.extend(here.into_iter().filter(|one| !is_leaving(one)).take(allowed));
        }
    }
    let moved: Vec<_> = moved.into_iter().filter(|one| !is_leaving(one)).collect();
    for one in &moved {
        let mut leaving = Allocation::clone(one);
        leaving.desired_transition.migrate = Some(true);
        state.put_allocation(leaving);
    }
    let jobs: BTreeSet<&String> = moved.iter().map(|one| &one.job_id).collect();
    for job in jobs {
        look(state, job, Trigger::NodeDrain, now, chance);
    }
    !moved.is_empty()
}

fn is_leaving(one: &Allocation) -> bool {
    one.is_terminal() || one.desired_transition.migrate == Some(true)
}

/// How many of a group may leave now: its healthy instances beyond `count - max_parallel`.
fn allowed(state: &State, job: &str, group: &str) -> usize {
    let Some(group) = state.jobs.get(job).and_then(|record| record.job.group(group)) else {
        return usize::MAX;
    };
    let parallel = group.migrate.as_ref().map_or(1, |migrate| migrate.max_parallel);
    let healthy = state
        .allocations_of(job)
        .filter(|one| {
            one.task_group == group.name && !is_leaving(one) && one.healthy() == Some(true)
        })
        .count();
    healthy.saturating_sub(group.count.saturating_sub(parallel))
}
