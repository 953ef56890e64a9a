//! What an operator does with a deployment: promoting, failing, pausing.

use super::{end, look, unhealthy_canaries};
use crate::agent::evaluate::Chance;
use crate::agent::job::Nanos;
use crate::agent::state::{Allocation, Deployment, DeploymentStatus, State, Trigger};
use crate::agent::time::rfc3339;

/// What an operator may not do with a deployment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeploymentError {
    #[error("deployment not found")]
    Unknown,
    #[error("can't {action} terminal deployment")]
    Over { action: &'static str },
    #[error("no canaries to promote")]
    NoCanaries,
    #[error("Task group {group:?} has {healthy}/{desired} healthy allocations")]
    Unhealthy { group: String, healthy: usize, desired: usize },
}

/// Promotes the canaries of the named groups, or of all; the evaluation's id.
pub(crate) fn promote(
    state: &mut State,
    id: &str,
    groups: Option<&[String]>,
    now: Nanos,
    chance: &mut dyn Chance,
) -> Result<String, DeploymentError> {
    let deployment = state.deployments.get(id).ok_or(DeploymentError::Unknown)?;
    if !deployment.is_active() {
        return Err(DeploymentError::Over { action: "promote" });
    }
    let mut deployment = Deployment::clone(deployment);
    let is_meant = |name: &String| groups.is_none_or(|groups| groups.contains(name));
    if !deployment
        .task_groups
        .iter()
        .any(|(name, group)| is_meant(name) && group.desired_canaries > 0)
    {
        return Err(DeploymentError::NoCanaries);
    }
    let bad =
        unhealthy_canaries(state, &deployment).into_iter().find(|(name, _, _)| is_meant(name));
    if let Some((group, healthy, desired)) = bad {
        return Err(DeploymentError::Unhealthy { group, healthy, desired });
    }
    let mut promoted = Vec::new();
    for (name, group) in &mut deployment.task_groups {
        if is_meant(name) && group.desired_canaries > 0 {
            group.promoted = true;
            // What waited for a person has its whole time from here on.
            if group.progress_deadline > 0 {
                group.progress_by = now + group.progress_deadline;
                group.require_progress_by = rfc3339(group.progress_by);
            }
            promoted.extend(group.placed_canaries.iter().cloned());
        }
    }
    if !deployment.needs_promotion() && deployment.status == DeploymentStatus::Running {
        deployment.status_description = "Deployment is running".to_owned();
    }
    let job = deployment.job_id.clone();
    deployment.modify_time = now;
    state.put_deployment(deployment);
    for canary in promoted {
        // What was a canary registers from now on with the ordinary tags and meta.
        let Some(one) = state.allocations.get(&canary) else { continue };
        let mut one = Allocation::clone(one);
        if let Some(health) = &mut one.deployment_status {
            health.canary = false;
        }
        state.put_allocation(one);
    }
    Ok(look(state, &job, Trigger::DeploymentWatcher, now, chance).unwrap_or_default())
}

/// Fails a deployment by an operator's wish; the evaluation's id and the version that is gone back to.
pub(crate) fn fail(
    state: &mut State,
    id: &str,
    now: Nanos,
    chance: &mut dyn Chance,
) -> Result<(String, Option<u64>), DeploymentError> {
    let deployment = state.deployments.get(id).ok_or(DeploymentError::Unknown)?;
    if !deployment.is_active() {
        return Err(DeploymentError::Over { action: "fail" });
    }
    Ok(end(state, id, "Deployment marked as failed", now, chance))
}

/// Pauses or resumes; the evaluation's id.
pub(crate) fn pause(
    state: &mut State,
    id: &str,
    pause: bool,
    now: Nanos,
    chance: &mut dyn Chance,
) -> Result<String, DeploymentError> {
    let deployment = state.deployments.get(id).ok_or(DeploymentError::Unknown)?;
    if !deployment.is_active() {
        return Err(DeploymentError::Over { action: if pause { "pause" } else { "resume" } });
    }
    let mut deployment = Deployment::clone(deployment);
    let (status, text) = if pause {
        (DeploymentStatus::Paused, "Deployment is paused")
    } else {
        (DeploymentStatus::Running, "Deployment is running")
    };
    (deployment.status, deployment.status_description) = (status, text.to_owned());
    let job = deployment.job_id.clone();
    state.put_deployment(deployment);
    Ok(look(state, &job, Trigger::DeploymentWatcher, now, chance).unwrap_or_default())
}
