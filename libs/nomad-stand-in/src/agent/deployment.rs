//! Deployments: health is counted, canaries are promoted, what makes no progress fails and is reverted.
//!
//! In: a state, a report or an operator's wish, the time. Out: the state with the deployment's next step, and an evaluation
//! where the scheduler has to look. Every function here is a pure step of that machine.
//!
//! A deployment with a progress deadline fails by that deadline alone; an unhealthy allocation before it is replaced.
//! Without one (0) the first unhealthy allocation fails it. A revert registers the newest stable version again, as a new
//! version *with its own update block*: if that one wants canaries and bad allocations must be replaced, it waits for a
//! promotion, as Nomad's does.

use std::sync::Arc;

mod wishes;

pub(crate) use wishes::{DeploymentError, fail, pause, promote};

use super::evaluate::Chance;
use super::job::Nanos;
use super::state::{
    Allocation, Deployment, DeploymentStatus, EvalStatus, Evaluation, Health, JobRecord, State,
    Trigger,
};
use super::time::rfc3339;

/// A fresh evaluation of a job.
pub(crate) fn evaluation(
    record: &JobRecord,
    trigger: Trigger,
    now: Nanos,
    chance: &mut dyn Chance,
) -> Evaluation {
    Evaluation {
        id: chance.id(),
        namespace: record.job.namespace.clone(),
        priority: record.job.priority,
        kind: record.job.kind.name().to_owned(),
        triggered_by: trigger,
        job_id: record.job.id.clone(),
        job_modify_index: record.job_modify_index,
        node_id: String::new(),
        deployment_id: String::new(),
        status: EvalStatus::Pending,
        status_description: String::new(),
        wait_until: 0,
        next_eval: String::new(),
        previous_eval: String::new(),
        blocked_eval: String::new(),
        failed: None,
        queued_allocations: std::collections::BTreeMap::new(),
        snapshot_index: 0,
        create_index: 0,
        modify_index: 0,
        create_time: now,
        modify_time: now,
    }
}

/// Asks the scheduler to look at a job; the evaluation's id.
pub(crate) fn look(
    state: &mut State,
    job: &str,
    trigger: Trigger,
    now: Nanos,
    chance: &mut dyn Chance,
) -> Option<String> {
    let record = Arc::clone(state.jobs.get(job)?);
    let mut evaluation = evaluation(&record, trigger, now, chance);
    if trigger == Trigger::DeploymentWatcher
        && let Some(deployment) = state.latest_deployment(job)
    {
        evaluation.deployment_id = deployment.id.clone();
    }
    let id = evaluation.id.clone();
    state.put_evaluation(evaluation);
    Some(id)
}

/// Notes an allocation's health and moves its deployment on.
pub(crate) fn report_health(
    state: &mut State,
    allocation: &str,
    healthy: bool,
    now: Nanos,
    chance: &mut dyn Chance,
) {
    let Some(known) = state.allocations.get(allocation).map(Arc::clone) else { return };
    if known.healthy() == Some(healthy) {
        return;
    }
    let index = state.index + 1;
    state.change_allocation(allocation, |one| {
        one.deployment_status = Some(Health {
            healthy: Some(healthy),
            timestamp: rfc3339(now),
            canary: one.is_canary(),
            modify_index: index,
        });
        one.modify_time = now;
    });
    let Some(deployment) = state.deployments.get(&known.deployment_id) else { return };
    let mut deployment = Deployment::clone(deployment);
    let Some(group) = deployment.task_groups.get_mut(&known.task_group) else { return };
    match known.healthy() {
        Some(true) => group.healthy_allocs = group.healthy_allocs.saturating_sub(1),
        Some(false) => group.unhealthy_allocs = group.unhealthy_allocs.saturating_sub(1),
        None => {}
    }
    if healthy {
        group.healthy_allocs += 1;
        if group.progress_deadline > 0 {
            group.progress_by = now + group.progress_deadline;
            group.require_progress_by = rfc3339(group.progress_by);
        }
    } else {
        group.unhealthy_allocs += 1;
    }
    let has_deadline = group.progress_deadline > 0;
    let (is_active, id, job) =
        (deployment.is_active(), deployment.id.clone(), deployment.job_id.clone());
    deployment.modify_time = now;
    state.put_deployment(deployment);
    if !is_active {
        return;
    }
    if healthy {
        look(state, &job, Trigger::DeploymentWatcher, now, chance);
    } else if has_deadline {
        let mut replaced = Allocation::clone(&known);
        if let Some(current) = state.allocations.get(allocation) {
            replaced = Allocation::clone(current);
        }
        replaced.desired_transition.reschedule = Some(true);
        state.put_allocation(replaced);
        look(state, &job, Trigger::DeploymentWatcher, now, chance);
    } else {
        end(state, &id, "Failed due to unhealthy allocations", now, chance);
    }
}

/// What time and health bring about by themselves: promotions and failures. Whether anything was done.
pub(crate) fn watch(state: &mut State, now: Nanos, chance: &mut dyn Chance) -> bool {
    let running: Vec<Arc<Deployment>> = state
        .deployments
        .values()
        .filter(|deployment| deployment.status == DeploymentStatus::Running)
        .map(Arc::clone)
        .collect();
    let mut has_acted = false;
    for deployment in running {
        let canarying =
            || deployment.task_groups.values().filter(|group| group.desired_canaries > 0);
        let is_proven = deployment.needs_promotion()
            && canarying().all(|group| group.auto_promote)
            && unhealthy_canaries(state, &deployment).is_empty();
        if is_proven && promote(state, &deployment.id, None, now, chance).is_ok() {
            has_acted = true;
        } else if is_late(&deployment, now) {
            end(state, &deployment.id, "Failed due to progress deadline", now, chance);
            has_acted = true;
        }
    }
    has_acted
}

/// Whether a group's deadline has passed and it lacks healthy allocations. One that only waits for a promotion is not late.
fn is_late(deployment: &Deployment, now: Nanos) -> bool {
    deployment.task_groups.values().any(|group| {
        let wanted =
            if group.needs_promotion() { group.desired_canaries } else { group.desired_total };
        group.progress_by > 0 && group.progress_by <= now && group.healthy_allocs < wanted
    })
}

/// Groups with too few healthy canaries, as `(group, healthy, desired)`.
fn unhealthy_canaries(state: &State, deployment: &Deployment) -> Vec<(String, usize, usize)> {
    let groups = deployment.task_groups.iter().filter(|(_, group)| group.needs_promotion());
    groups
        .filter_map(|(name, group)| {
            let canaries = group.placed_canaries.iter().filter_map(|id| state.allocations.get(id));
            let healthy =
                canaries.filter(|one| !one.is_terminal() && one.healthy() == Some(true)).count();
            (healthy < group.desired_canaries)
                .then(|| (name.clone(), healthy, group.desired_canaries))
        })
        .collect()
}

/// Fails a deployment, and goes back to the newest stable version where a group wants that.
fn end(
    state: &mut State,
    id: &str,
    why: &str,
    now: Nanos,
    chance: &mut dyn Chance,
) -> (String, Option<u64>) {
    let Some(deployment) = state.deployments.get(id) else { return (String::new(), None) };
    let mut deployment = Deployment::clone(deployment);
    let job = deployment.job_id.clone();
    let wants_revert = deployment.task_groups.values().any(|group| group.auto_revert);
    let current = state.jobs.get(&job).map(Arc::clone);
    let stable = state
        .versions
        .get(&job)
        .into_iter()
        .flatten()
        .find(|version| version.stable)
        .map(Arc::clone);
    let (suffix, target) = match (wants_revert, &current, stable) {
        (false, ..) | (_, None, _) => (String::new(), None),
        (true, _, None) => (" - no stable job version to auto revert to".to_owned(), None),
        (true, Some(current), Some(stable)) if current.body == stable.body => (
            format!(
                " - not rolling back to stable job version {} as current job has same specification",
                stable.version
            ),
            None,
        ),
        (true, _, Some(stable)) => {
            (format!(" - rolling back to job version {}", stable.version), Some(stable))
        }
    };
    deployment.status = DeploymentStatus::Failed;
    deployment.status_description = format!("{why}{suffix}");
    deployment.modify_time = now;
    state.put_deployment(deployment);
    let version = target.as_ref().map(|target| target.version);
    if let Some(target) = target {
        state.put_job(JobRecord { stop: false, ..JobRecord::clone(&target) }, now);
    }
    let evaluation = look(state, &job, Trigger::DeploymentWatcher, now, chance);
    (evaluation.unwrap_or_default(), version)
}
