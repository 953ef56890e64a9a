//! What the agent knows: jobs, evaluations, allocations, deployments, nodes, and an index that counts every change.
//!
//! A [`State`] is a value: readers hold one that never changes, and the only writer (`store.rs`) replaces it. Records
//! are shared between states, so that a copy costs no more than their number. Everything is written in Nomad's JSON,
//! which is also what is kept on disk.
//!
//! **Invariants**: a record is changed only through [`State`]'s methods, which give it the index of its change and give
//! that to its table too; nothing here decides what is to happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod allocation;
mod deployment;
mod evaluation;
mod jobs;
mod node;
mod services;
mod task_state;

pub(crate) use allocation::{
    AllocatedPort, AllocatedResources, Allocation, ClientStatus, Desired, Health, RescheduleEvent,
    RescheduleTracker, TaskShare, Transition,
};
pub(crate) use deployment::{Deployment, DeploymentStatus, GroupState};
pub(crate) use evaluation::{EvalStatus, Evaluation, Trigger, Unplaced};
pub(crate) use jobs::JobRecord;
pub(crate) use node::{Drain, Node};
pub(crate) use services::ServiceRegistration;
pub(crate) use task_state::{TaskEvent, TaskPhase, TaskState};

/// What one kind of records is called in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Table {
    Jobs,
    Evaluations,
    Allocations,
    Deployments,
    Nodes,
    Services,
}

/// Everything, at one index.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) index: u64,
    tables: BTreeMap<Table, u64>,
    pub(crate) jobs: BTreeMap<String, Arc<JobRecord>>,
    /// All versions of a job, the newest first.
    pub(crate) versions: BTreeMap<String, Vec<Arc<JobRecord>>>,
    pub(crate) evaluations: BTreeMap<String, Arc<Evaluation>>,
    pub(crate) allocations: BTreeMap<String, Arc<Allocation>>,
    pub(crate) deployments: BTreeMap<String, Arc<Deployment>>,
    pub(crate) nodes: BTreeMap<String, Arc<Node>>,
    pub(crate) services: BTreeMap<String, Arc<ServiceRegistration>>,
}

impl State {
    /// The index of the last change of a table; 1 before the first.
    pub(crate) fn table(&self, table: Table) -> u64 {
        self.tables.get(&table).copied().unwrap_or(1)
    }

    /// Counts a change of a table and gives its index.
    fn touch(&mut self, table: Table) -> u64 {
        self.index = self.index.max(1) + 1;
        self.tables.insert(table, self.index);
        self.index
    }

    /// Writes an evaluation, new or changed.
    pub(crate) fn put_evaluation(&mut self, mut evaluation: Evaluation) {
        evaluation.modify_index = self.touch(Table::Evaluations);
        if evaluation.create_index == 0 {
            evaluation.create_index = evaluation.modify_index;
        }
        self.evaluations.insert(evaluation.id.clone(), Arc::new(evaluation));
    }

    /// Writes an allocation that the scheduler made or decided about.
    pub(crate) fn put_allocation(&mut self, mut allocation: Allocation) {
        allocation.modify_index = self.touch(Table::Allocations);
        allocation.alloc_modify_index = allocation.modify_index;
        if allocation.create_index == 0 {
            allocation.create_index = allocation.modify_index;
        }
        self.allocations.insert(allocation.id.clone(), Arc::new(allocation));
    }

    /// Changes what the client says about an allocation.
    pub(crate) fn change_allocation(&mut self, id: &str, change: impl FnOnce(&mut Allocation)) {
        let Some(current) = self.allocations.get(id) else { return };
        let mut allocation = Allocation::clone(current);
        change(&mut allocation);
        allocation.modify_index = self.touch(Table::Allocations);
        self.allocations.insert(id.to_owned(), Arc::new(allocation));
    }

    /// Writes a deployment, new or changed.
    pub(crate) fn put_deployment(&mut self, mut deployment: Deployment) {
        deployment.modify_index = self.touch(Table::Deployments);
        if deployment.create_index == 0 {
            deployment.create_index = deployment.modify_index;
        }
        self.deployments.insert(deployment.id.clone(), Arc::new(deployment));
    }

    /// Writes a node, new or changed.
    pub(crate) fn put_node(&mut self, mut node: Node) {
        node.modify_index = self.touch(Table::Nodes);
        if node.create_index == 0 {
            node.create_index = node.modify_index;
        }
        self.nodes.insert(node.id.clone(), Arc::new(node));
    }

    /// Adds Nomad's own registration of a service.
    pub(crate) fn put_service(&mut self, mut service: ServiceRegistration) {
        service.modify_index = self.touch(Table::Services);
        service.create_index = self
            .services
            .get(&service.id)
            .map_or(service.modify_index, |current| current.create_index);
        self.services.insert(service.id.clone(), Arc::new(service));
    }

    /// Removes the registrations for which `is_gone` holds.
    pub(crate) fn remove_services(&mut self, is_gone: impl Fn(&ServiceRegistration) -> bool) {
        let before = self.services.len();
        self.services.retain(|_, service| !is_gone(service));
        if self.services.len() != before {
            self.touch(Table::Services);
        }
    }

    /// The allocations of a job, oldest first.
    pub(crate) fn allocations_of<'a>(
        &'a self,
        job: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Allocation>> {
        let mut list: Vec<_> =
            self.allocations.values().filter(|allocation| allocation.job_id == job).collect();
        list.sort_by_key(|allocation| allocation.create_index);
        list.into_iter()
    }

    /// The newest deployment of a job.
    pub(crate) fn latest_deployment(&self, job: &str) -> Option<&Arc<Deployment>> {
        self.deployments
            .values()
            .filter(|deployment| deployment.job_id == job)
            .max_by_key(|deployment| deployment.create_index)
    }

    /// Forgets allocations and evaluations of jobs that are dead or gone.
    pub(crate) fn collect(&mut self) {
        let jobs = &self.jobs;
        let is_kept = |job: &str| jobs.get(job).is_some_and(|record| record.status != "dead");
        self.allocations.retain(|_, one| is_kept(&one.job_id) || !one.client_status.is_terminal());
        self.evaluations.retain(|_, one| is_kept(&one.job_id) || one.status == EvalStatus::Pending);
        self.touch(Table::Allocations);
        self.touch(Table::Evaluations);
    }
}
