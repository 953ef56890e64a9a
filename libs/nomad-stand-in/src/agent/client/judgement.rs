//! Health of an allocation in its current deployment, judged once for each and reported.
//!
//! In: its record, its tasks, its registrations. Out: a report into the state. What is judged anew: a new deployment, a new version.

use std::collections::BTreeMap;

use super::health::{Judge, Rule, Verdict};
use super::registrar::Registrar;
use super::services::Registration;
use crate::agent::deployment::report_health;
use crate::agent::job::Group;
use crate::agent::state::{Allocation, TaskEvent, TaskState};
use crate::agent::store::now;

/// The judgement of the current deployment.
#[derive(Default)]
pub(super) struct Judgement {
    /// Deployment and version that are judged.
    subject: Option<(String, u64)>,
    judge: Option<Judge>,
}

impl Judgement {
    /// Whether a verdict is still to come.
    pub(super) fn is_open(&self) -> bool {
        self.judge.is_some()
    }

    /// Looks once.
    pub(super) async fn look(
        &mut self,
        registrar: Registrar<'_>,
        first: &Group,
        allocation: &Allocation,
        states: &BTreeMap<String, TaskState>,
        registered: &[Registration],
    ) {
        let subject = (allocation.deployment_id.clone(), allocation.job.version);
        if self.subject.as_ref() != Some(&subject) {
            let is_open = allocation.healthy().is_none() && !allocation.job.job.kind.is_batch();
            let group = allocation.group().unwrap_or(first);
            let rule = Rule::of(group, !allocation.deployment_id.is_empty()).filter(|_| is_open);
            self.judge = rule.map(|rule| Judge::new(rule, now()));
            self.subject = Some(subject);
        }
        let Some(judge) = &mut self.judge else { return };
        let passes = judge.by_checks() && registrar.do_checks_pass(registered).await;
        let Some(verdict) = judge.look(first, states, passes, now()) else { return };
        self.judge = None;
        if let Verdict::Unhealthy(why) = &verdict {
            tracing::info!(allocation = registrar.id, why, "Allocation is unhealthy");
        }
        let healthy = verdict == Verdict::Healthy;
        let explanation = match verdict {
            Verdict::Healthy => None,
            Verdict::Unhealthy(why) => Some(why),
        };
        registrar.client.store.change(|state, now, chance| {
            if let Some(why) = explanation {
                state.change_allocation(registrar.id, |one| {
                    for task in one.task_states.values_mut() {
                        task.record(TaskEvent::new("Alloc Unhealthy", why.clone(), now));
                    }
                });
            }
            report_health(state, registrar.id, healthy, now, chance);
        });
    }
}
