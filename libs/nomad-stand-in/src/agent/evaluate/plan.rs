//! What a look at a job decided, and how that is written into the state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::Chance;
use crate::agent::job::Nanos;
use crate::agent::state::{
    Allocation, Deployment, Desired, EvalStatus, Evaluation, State, Trigger, Unplaced,
};

/// Nomad's DesiredUpdates: how many instances of a group meet which fate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DesiredUpdates {
    pub(crate) ignore: usize,
    pub(crate) place: usize,
    pub(crate) migrate: usize,
    pub(crate) stop: usize,
    pub(crate) in_place_update: usize,
    pub(crate) destructive_update: usize,
    pub(crate) canary: usize,
    pub(crate) preemptions: usize,
}

/// A look at the job at a later time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FollowUp {
    pub(crate) at: Nanos,
    pub(crate) trigger: Trigger,
    /// The failed allocations that wait for it.
    pub(crate) allocations: Vec<String>,
}

/// The decision.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// Allocations with `desired_status` stop.
    pub(crate) stops: Vec<Allocation>,
    pub(crate) places: Vec<Allocation>,
    /// Allocations that go on with a new version.
    pub(crate) updates: Vec<Allocation>,
    /// New and changed ones.
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) failed: BTreeMap<String, Unplaced>,
    pub(crate) queued: BTreeMap<String, usize>,
    pub(crate) desired: BTreeMap<String, DesiredUpdates>,
    pub(crate) follow_ups: Vec<FollowUp>,
}

impl Plan {
    /// Ends an allocation.
    pub(super) fn stop(&mut self, allocation: &Allocation, why: &str) {
        self.desired.entry(allocation.task_group.clone()).or_default().stop += 1;
        self.end(allocation, why);
    }

    /// Ends an allocation that is counted as something else than a stop.
    pub(super) fn end(&mut self, allocation: &Allocation, why: &str) {
        self.stops.push(Allocation {
            desired_status: Desired::Stop,
            desired_description: why.to_owned(),
            ..allocation.clone()
        });
    }

    pub(super) fn count(&mut self, group: &str) -> &mut DesiredUpdates {
        self.desired.entry(group.to_owned()).or_default()
    }

    /// Notes an instance that found no place.
    pub(super) fn fail(&mut self, group: &str, mut why: Unplaced) {
        *self.queued.entry(group.to_owned()).or_default() += 1;
        if let Some(first) = self.failed.get_mut(group) {
            first.coalesced_failures += 1;
        } else {
            why.coalesced_failures = 0;
            self.failed.insert(group.to_owned(), why);
        }
    }
}

/// Writes plans into a state.
pub(crate) struct Apply<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) chance: &'a mut dyn Chance,
    pub(crate) now: Nanos,
}

impl Apply<'_> {
    /// Writes a plan, and the evaluation that it answers as complete or blocked.
    pub(crate) fn write(&mut self, evaluation: &Evaluation, plan: Plan) {
        let now = self.now;
        for deployment in plan.deployments {
            self.state.put_deployment(deployment);
        }
        for mut stopped in plan.stops {
            if let Some(next) = plan.places.iter().find(|one| one.previous_allocation == stopped.id)
            {
                stopped.next_allocation = next.id.clone();
            }
            stopped.modify_time = now;
            self.state.put_allocation(stopped);
        }
        for mut changed in plan.updates {
            (changed.modify_time, changed.eval_id) = (now, evaluation.id.clone());
            self.count_placed(&changed);
            self.state.put_allocation(changed);
        }
        for placed in plan.places {
            self.count_placed(&placed);
            self.state.put_allocation(placed);
        }
        let mut next_eval = String::new();
        for follow_up in plan.follow_ups {
            let later = self.follow_up(evaluation, follow_up.at, follow_up.trigger);
            for id in &follow_up.allocations {
                if let Some(failed) = self.state.allocations.get(id) {
                    let mut failed = Allocation::clone(failed);
                    failed.followup_eval_id = later.clone();
                    self.state.put_allocation(failed);
                }
            }
            next_eval = later;
        }
        self.conclude(evaluation, plan.failed, plan.queued, next_eval);
    }

    /// A new allocation of a deployment starts its clock and, as a canary, is remembered.
    fn count_placed(&mut self, placed: &Allocation) {
        use crate::agent::time::rfc3339;
        if placed.deployment_id.is_empty() {
            return;
        }
        let Some(deployment) = self.state.deployments.get(&placed.deployment_id) else { return };
        let mut deployment = Deployment::clone(deployment);
        let Some(group) = deployment.task_groups.get_mut(&placed.task_group) else { return };
        group.placed_allocs += 1;
        if placed.is_canary() {
            group.placed_canaries.push(placed.id.clone());
        }
        if group.progress_by == 0 && group.progress_deadline > 0 {
            group.progress_by = self.now + group.progress_deadline;
            group.require_progress_by = rfc3339(group.progress_by);
        }
        self.state.put_deployment(deployment);
    }

    fn follow_up(&mut self, evaluation: &Evaluation, at: Nanos, trigger: Trigger) -> String {
        let id = self.chance.id();
        self.state.put_evaluation(Evaluation {
            id: id.clone(),
            triggered_by: trigger,
            status: EvalStatus::Pending,
            status_description: String::new(),
            wait_until: at,
            previous_eval: evaluation.id.clone(),
            failed: None,
            queued_allocations: BTreeMap::new(),
            create_index: 0,
            create_time: self.now,
            modify_time: self.now,
            ..evaluation.clone()
        });
        id
    }

    fn conclude(
        &mut self,
        evaluation: &Evaluation,
        failed: BTreeMap<String, Unplaced>,
        queued: BTreeMap<String, usize>,
        next_eval: String,
    ) {
        let was_blocked = evaluation.triggered_by == Trigger::QueuedAllocs;
        let mut done = Evaluation {
            status: EvalStatus::Complete,
            next_eval,
            queued_allocations: queued,
            snapshot_index: self.state.index,
            modify_time: self.now,
            ..evaluation.clone()
        };
        if let Some(latest) =
            self.state.latest_deployment(&evaluation.job_id).filter(|one| one.is_active())
        {
            done.deployment_id = latest.id.clone();
        }
        self.cancel_blocked(evaluation);
        if !failed.is_empty() {
            done.failed = Some(failed);
            if was_blocked {
                done.status = EvalStatus::Blocked;
            } else {
                done.blocked_eval = self.chance.id();
                let blocked = Evaluation {
                    id: done.blocked_eval.clone(),
                    triggered_by: Trigger::QueuedAllocs,
                    status: EvalStatus::Blocked,
                    status_description: "created to place remaining allocations".to_owned(),
                    previous_eval: done.id.clone(),
                    blocked_eval: String::new(),
                    create_index: 0,
                    create_time: self.now,
                    ..done.clone()
                };
                self.state.put_evaluation(done);
                let snapshot_index = self.state.index;
                self.state.put_evaluation(Evaluation { snapshot_index, ..blocked });
                return;
            }
        }
        self.state.put_evaluation(done);
    }

    /// A newer look at a job makes its blocked ones pointless.
    fn cancel_blocked(&mut self, evaluation: &Evaluation) {
        let blocked: Vec<Arc<Evaluation>> = self
            .state
            .evaluations
            .values()
            .filter(|one| {
                one.job_id == evaluation.job_id
                    && one.status == EvalStatus::Blocked
                    && one.id != evaluation.id
            })
            .map(Arc::clone)
            .collect();
        for one in blocked {
            let mut canceled = Evaluation::clone(&one);
            canceled.status = EvalStatus::Canceled;
            canceled.status_description =
                "existing blocked evaluation exists for this job".to_owned();
            canceled.modify_time = self.now;
            self.state.put_evaluation(canceled);
        }
    }
}
