//! The judgement as tables of sentences: what is the case, and what follows.
//!
//! A case is written as changes to a usual one: `orders`, three instances of version 4, version 5 on its way with one
//! canary. Steps are compared in the words of [`said`].

use nomad::{
    Allocation, AllocationHealth, Deployment, Evaluation, GroupDeployment, Job, TaskEvent,
    TaskState,
};
use serde_json::json;

use super::*;
use crate::deploy::mesh::MeshAnswer;
use crate::deploy::record::Asked;
use crate::deploy::sli::{Sli, SliRules};

mod back;
mod batch;
mod forward;
mod stop;

/// A world that the tests change.
pub(super) struct World {
    pub(super) record: Record,
    pub(super) view: View,
    pub(super) patience: Patience,
}

impl World {
    /// Version 5 is submitted, one canary is placed and starts.
    pub(super) fn new(state: State) -> Self {
        let record = Record::sample(state);
        let patience = Patience {
            elapsed: Duration::from_secs(10),
            timeout: Duration::from_secs(900),
            awaits_person: false,
        };
        let mut world = Self { record, view: View::default(), patience };
        world.job(5);
        world.allocations(4, 3);
        world.deployment(5, "running", 1);
        world.canary("starting");
        world
    }

    /// The job in force.
    pub(super) fn job(&mut self, version: u64) -> &mut Self {
        let meta = json!({"mesh_system": "trading"});
        let group = json!({"Name": "web", "Count": 3, "Services": [{"Name": "orders", "Meta": meta, "CanaryMeta": {"mesh_track": "canary"}}]});
        let body = json!({"ID": "orders", "Type": "service", "Version": version,
            "JobModifyIndex": version * 10, "Stop": false, "TaskGroups": [group]});
        self.view.job = Some(Job { body });
        self
    }

    pub(super) fn set(&mut self, key: &str, value: serde_json::Value) -> &mut Self {
        if let Some(job) = &mut self.view.job {
            job.body[key] = value;
        }
        self
    }

    /// So many instances of a version, all well; those there were go.
    pub(super) fn allocations(&mut self, version: u64, count: usize) -> &mut Self {
        self.view.allocations = (0..count).map(|at| instance(version, at)).collect();
        self
    }

    /// A version's deployment with so many canaries to be, none promoted.
    pub(super) fn deployment(&mut self, version: u64, status: &str, canaries: u64) -> &mut Self {
        let group = GroupDeployment {
            desired_canaries: canaries,
            desired_total: 3,
            ..GroupDeployment::default()
        };
        self.view.deployments.retain(|own| own.job_version != version);
        self.view.deployments.push(Deployment {
            id: format!("deployment-{version}"),
            job_version: version,
            status: status.to_owned(),
            status_description: format!("it is {status}"),
            task_groups: [("web".to_owned(), group)].into(),
            create_index: version * 10,
            ..Deployment::default()
        });
        self
    }

    pub(super) fn group(&mut self, change: impl Fn(&mut GroupDeployment)) -> &mut Self {
        for deployment in &mut self.view.deployments {
            deployment.task_groups.values_mut().for_each(&change);
        }
        self
    }

    /// One canary of version 5: `starting`, `healthy`, `unhealthy` or `failed`.
    pub(super) fn canary(&mut self, how: &str) -> &mut Self {
        self.view.allocations.retain(|own| own.id != "canary-0");
        let mut own = Allocation { id: "canary-0".to_owned(), ..instance(5, 0) };
        own.deployment_status = AllocationHealth {
            healthy: match how {
                "healthy" => Some(true),
                "unhealthy" => Some(false),
                _ => None,
            },
            canary: true,
        };
        if how == "failed" {
            let event = |kind: &str, message: &str| TaskEvent {
                kind: kind.to_owned(),
                display_message: message.to_owned(),
                ..TaskEvent::default()
            };
            let events = vec![
                event("Terminated", "Exit Code: 3"),
                event("Not Restarting", "Exceeded allowed attempts"),
            ];
            let task = TaskState {
                state: "dead".to_owned(),
                failed: true,
                events,
                ..TaskState::default()
            };
            own.task_states = [("app".to_owned(), task)].into();
            own.client_status = "failed".to_owned();
        }
        let is_healthy = u64::from(how == "healthy");
        self.view.allocations.insert(0, own);
        self.group(|group| {
            group.healthy_allocs = is_healthy;
            group.placed_canaries = vec!["canary-0".to_owned()];
        })
    }

    /// Version 5 is promoted and on every place: the end of a rollout.
    pub(super) fn arrived(&mut self) -> &mut Self {
        self.allocations(5, 3).deployment(5, "successful", 1);
        self.group(|group| group.promoted = true);
        let old = Allocation {
            id: "old-0".to_owned(),
            desired_status: "stop".to_owned(),
            ..instance(4, 0)
        };
        self.view.allocations.push(old);
        self
    }

    /// What control planes answer to whatever is asked.
    pub(super) fn mesh(&mut self, answer: MeshAnswer) -> &mut Self {
        self.view.mesh = None;
        if let Step::AskMesh(question) = self.decide() {
            self.view.mesh = Some((question, answer));
        }
        self
    }

    pub(super) fn known(&mut self) -> &mut Self {
        self.mesh(MeshAnswer::Converged { dependents: 2 })
    }

    pub(super) fn late(&mut self) -> &mut Self {
        self.patience.elapsed = Duration::from_secs(901);
        self
    }

    pub(super) fn decide(&self) -> Step {
        decide(&self.record, &self.view, self.patience)
    }
}

fn instance(version: u64, at: usize) -> Allocation {
    Allocation {
        id: format!("v{version}-{at}"),
        job_version: version,
        task_group: "web".to_owned(),
        desired_status: "run".to_owned(),
        client_status: "running".to_owned(),
        modify_index: version * 10 + 1,
        ..Allocation::default()
    }
}

pub(super) fn following() -> State {
    State::Following { version: 5, evaluation: String::new() }
}

pub(super) fn rules() -> SliRules {
    SliRules { window_seconds: 60, min_requests: 100, max_error_points: 1.0, max_p99_ratio: 1.5 }
}

pub(super) fn evaluation(status: &str) -> Evaluation {
    Evaluation {
        id: "e".to_owned(),
        status: status.to_owned(),
        status_description: "no scheduler".to_owned(),
        ..Evaluation::default()
    }
}

/// A step in short.
pub(super) fn said(step: &Step) -> String {
    let list = |ids: &[String]| ids.join(" ");
    match step {
        Step::Submit { index } => format!("submit at {index}"),
        Step::Enter(state) => match state {
            State::Following { version, .. } => format!("follow version {version}"),
            State::AwaitingPromotion { why, .. } => format!("await a person: {why}"),
            State::Promoting { version } => format!("begin to promote version {version}"),
            State::Reverting { from, to: Some(to), why } => {
                format!("begin to go back from {from} to {to}: {why}")
            }
            State::Reverting { from, to: None, why } => {
                format!("begin to go back from {from} to nothing: {why}")
            }
            other => other.name().to_owned(),
        },
        Step::AskMesh(question) => {
            let one = &question[0];
            let (canary, stable, absent) =
                (list(&one.canary), list(&one.stable), list(&one.absent));
            format!("ask: canary {canary}, stable {stable}, absent {absent}")
        }
        Step::Measure { version } => format!("measure version {version}"),
        Step::Promote { deployment } => format!("promote {deployment}"),
        Step::Fail { deployment } => format!("fail {deployment}"),
        Step::Revert { to, from } => format!("revert from {from} to {to}"),
        Step::Stop => "stop".to_owned(),
        Step::Purge => "purge".to_owned(),
        Step::Wait { on, what } => format!("wait for {}: {what}", on.name()),
        Step::End(outcome) => {
            format!("end {}: {}", outcome.exit_code(), outcome.sentence("orders"))
        }
    }
}

/// Goes through a table: a sentence, the world in which it holds, what follows.
pub(super) fn hold(rows: Vec<(&str, World, &str)>) {
    for (sentence, world, expected) in rows {
        assert_eq!(said(&world.decide()), expected, "{sentence}");
    }
}

/// A world made by changes.
pub(super) fn world(state: State, change: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(state);
    change(&mut world);
    world
}
