//! One step of the server: everything that follows from the state and the time, until nothing follows any more.
//!
//! In: a state that something changed, or a time that has come. Out: the state with all due evaluations done, deployments
//! watched, drains moved on and blocked evaluations tried again. Called by the writer after each change and by the clock.

use std::sync::Arc;

use super::deployment::{self, look};
use super::drain;
use super::evaluate::{Apply, Chance, Look, evaluate};
use super::job::Nanos;
use super::state::{
    Allocation, ClientStatus, DeploymentStatus, Desired, EvalStatus, Evaluation, State, Trigger,
};

/// Rounds after which a step is given up: each is a consequence of the one before, and chains are short.
const ROUNDS_MAX: usize = 100;

/// Lets everything happen that is due.
pub(crate) fn step(state: &mut State, now: Nanos, chance: &mut dyn Chance) {
    for _ in 0..ROUNDS_MAX {
        unblock(state);
        let due: Vec<Arc<Evaluation>> = state
            .evaluations
            .values()
            .filter(|one| one.status == EvalStatus::Pending && one.wait_until <= now)
            .map(Arc::clone)
            .collect();
        let mut has_acted = !due.is_empty();
        for evaluation in due {
            schedule(state, &evaluation, now, chance);
        }
        has_acted |= stabilise(state);
        has_acted |= deployment::watch(state, now, chance);
        has_acted |= drain::advance(state, now, chance);
        if !has_acted {
            break;
        }
    }
    state.refresh_job_statuses();
}

fn schedule(state: &mut State, evaluation: &Evaluation, now: Nanos, chance: &mut dyn Chance) {
    let look = Look { state, eval_id: &evaluation.id, job_id: &evaluation.job_id, now };
    let plan = evaluate(&look, chance);
    Apply { state, chance, now }.write(evaluation, plan);
}

/// A version whose deployment was successful is one that a revert may go back to.
fn stabilise(state: &mut State) -> bool {
    let unmarked: Vec<(String, u64)> = state
        .deployments
        .values()
        .filter(|one| one.status == DeploymentStatus::Successful)
        .filter_map(|one| {
            let version = state.version(&one.job_id, one.job_version)?;
            let is_same = version.create_index == one.job_create_index;
            (is_same && !version.stable).then(|| (one.job_id.clone(), one.job_version))
        })
        .collect();
    for (job, version) in &unmarked {
        state.mark_stable(job, *version, true);
    }
    !unmarked.is_empty()
}

/// Blocked evaluations are tried again when an allocation ended or a node changed after they were blocked.
fn unblock(state: &mut State) {
    let blocked: Vec<Arc<Evaluation>> = state
        .evaluations
        .values()
        .filter(|one| one.status == EvalStatus::Blocked)
        .map(Arc::clone)
        .collect();
    for one in blocked {
        let since = one.snapshot_index;
        let has_room = state.nodes.values().any(|node| node.modify_index > since)
            || state.allocations.values().any(|one| one.modify_index > since && one.is_terminal());
        if has_room {
            state.put_evaluation(Evaluation {
                status: EvalStatus::Pending,
                ..Evaluation::clone(&one)
            });
        }
    }
}

/// What the client says about an allocation's tasks: a failure makes the scheduler look, and counts as unhealthy.
pub(crate) fn report(
    state: &mut State,
    id: &str,
    now: Nanos,
    chance: &mut dyn Chance,
    change: impl FnOnce(&mut Allocation),
) {
    let Some(before) = state.allocations.get(id).map(Arc::clone) else { return };
    state.change_allocation(id, |one| {
        change(one);
        one.modify_time = now;
    });
    let Some(after) = state.allocations.get(id).map(Arc::clone) else { return };
    if before.client_status == after.client_status || !after.client_status.is_terminal() {
        return;
    }
    if after.desired_status == Desired::Stop {
        return;
    }
    let kind = after.job.job.kind;
    if after.client_status == ClientStatus::Failed {
        if after.healthy().is_none() && !after.deployment_id.is_empty() {
            deployment::report_health(state, id, false, now, chance);
        }
        // Nothing delays a system job's retry: it would fail in a circle.
        if !kind.is_system() {
            look(state, &after.job_id, Trigger::AllocFailure, now, chance);
        }
    } else if !kind.is_batch() {
        look(state, &after.job_id, Trigger::AllocStop, now, chance);
    }
}

#[cfg(test)]
mod tests;
