//! The runner of one allocation: its network, registrations and tasks, from the first to the last.
//!
//! In: an allocation's record. Out: its end, reported. First comes what it replaces on the same node, then its network, then its
//! tasks under the conductor; at the end the network goes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};

use futures::future::join_all;
use tokio::sync::watch;

use super::Client;
use super::board::Board;
use super::bridge::Bridge;
use super::conductor::Conductor;
use super::environment::Environment;
use super::folders::TaskPaths;
use super::registrar::Registrar;
use super::stages::Order;
use super::task::Run;
use crate::agent::core;
use crate::agent::job::{Group, Task};
use crate::agent::state::{Allocation, ClientStatus, Desired, Node, TaskEvent, TaskState};
use crate::agent::store::now;

/// Runs an allocation to its end, or adopts the rest of one.
pub(super) async fn run(client: &Client, allocation: Arc<Allocation>) {
    let id = allocation.id.clone();
    let Some(node) = client.store.read().nodes.get(&allocation.node_id).map(Arc::clone) else {
        return;
    };
    if allocation.desired_status == Desired::Stop && allocation.task_states.is_empty() {
        report(client, &id, ClientStatus::Complete, "", BTreeMap::new());
        return;
    }
    let Some(group) = allocation.group().cloned() else { return };
    if !wait_for_previous(client, &allocation).await {
        report(client, &id, ClientStatus::Complete, "", BTreeMap::new());
        return;
    }
    let bridge = match join(client, &allocation, &group).await {
        Ok(bridge) => bridge,
        Err(why) => {
            let mut states = BTreeMap::new();
            for task in &group.tasks {
                let mut state = TaskState::default();
                let text = format!("failed to setup alloc: pre-run hook \"network\" failed: {why}");
                state.record(TaskEvent::new("Setup Failure", text, now()).failing());
                state.finished(true, now());
                states.insert(task.name.clone(), state);
            }
            report(client, &id, ClientStatus::Failed, "Failed tasks", states);
            return;
        }
    };
    Runner { client, id, node, group, bridge }.run(&allocation).await;
}

struct Runner<'a> {
    client: &'a Client,
    id: String,
    node: Arc<Node>,
    group: Group,
    bridge: Option<Bridge>,
}

impl Runner<'_> {
    async fn run(&self, allocation: &Arc<Allocation>) {
        let known = self.group.tasks.iter().map(|task| {
            (task.name.clone(), allocation.task_states.get(&task.name).cloned().unwrap_or_default())
        });
        let board = Board::new(known.collect());
        let orders: BTreeMap<&str, watch::Sender<Order>> = self
            .group
            .tasks
            .iter()
            .map(|task| (task.name.as_str(), watch::channel(Order::Hold).0))
            .collect();
        let tasks = join_all(self.group.tasks.iter().filter_map(|task| {
            let orders = orders.get(task.name.as_str())?.subscribe();
            Some(self.task(allocation, task, &board, orders).run())
        }));
        let registrar = Registrar {
            client: self.client,
            id: &self.id,
            node: &self.node,
            inside: self.bridge.as_ref().map(IpAddr::from),
        };
        let conductor = Conductor::new(registrar, &self.group, &board, &orders);
        tokio::join!(tasks, conductor.run(allocation));
        if let Some(bridge) = &self.bridge {
            bridge.leave(&allocation.allocated_resources.shared.ports).await;
        }
        let states = board.states();
        let has_failed = states.values().any(|state| state.failed);
        let status = if has_failed { ClientStatus::Failed } else { ClientStatus::Complete };
        report(self.client, &self.id, status, description(status), states);
    }

    fn task<'a>(
        &'a self,
        allocation: &Arc<Allocation>,
        task: &'a Task,
        board: &'a Board,
        orders: watch::Receiver<Order>,
    ) -> Run<'a> {
        let folder = self.client.folder(&self.id);
        let paths = TaskPaths::new(&folder, &task.name, task.driver == "docker");
        let inside = self.bridge.as_ref().map(IpAddr::from);
        let environment =
            Environment::of_task(allocation, &self.group, task, &self.node, inside, &paths);
        Run {
            client: self.client,
            allocation: Arc::clone(allocation),
            group: &self.group,
            task,
            environment,
            paths,
            netns: self.bridge.as_ref().map(Bridge::netns),
            board,
            orders,
            restarts: self.client.restarts.subscribe(),
        }
    }
}

/// Waits until the allocation that this one replaces on the same node is over; whether this one is still wanted.
async fn wait_for_previous(client: &Client, allocation: &Allocation) -> bool {
    let mut states = client.store.subscribe();
    loop {
        {
            let state = states.borrow_and_update();
            let own = state.allocations.get(&allocation.id);
            if own
                .is_none_or(|own| own.desired_status == Desired::Stop && own.task_states.is_empty())
            {
                return false;
            }
            let previous = state.allocations.get(&allocation.previous_allocation);
            let is_over = previous.is_none_or(|one| {
                one.node_id != allocation.node_id || one.client_status.is_terminal()
            });
            if is_over {
                return true;
            }
        }
        if states.changed().await.is_err() {
            return false;
        }
    }
}

async fn join(
    client: &Client,
    allocation: &Allocation,
    group: &Group,
) -> Result<Option<Bridge>, String> {
    if !group.networks.iter().any(|network| network.is_bridge()) {
        return Ok(None);
    }
    let folder = client.folder(&allocation.id).join(".stand-in/.network");
    let _one_at_a_time = client.bridges.lock().await;
    let taken: Vec<Ipv4Addr> =
        client.addresses.lock().unwrap_or_else(PoisonError::into_inner).values().copied().collect();
    let bridge = Bridge::join(allocation, &folder, client.lifelines(), &taken).await?;
    let mut addresses = client.addresses.lock().unwrap_or_else(PoisonError::into_inner);
    addresses.insert(allocation.id.clone(), bridge.address);
    Ok(Some(bridge))
}

pub(super) fn description(status: ClientStatus) -> &'static str {
    match status {
        ClientStatus::Pending => "No tasks have started",
        ClientStatus::Running => "Tasks are running",
        ClientStatus::Complete => "All tasks have completed",
        ClientStatus::Failed => "Failed tasks",
        ClientStatus::Lost => "",
    }
}

/// Writes what the client says about an allocation.
pub(super) fn report(
    client: &Client,
    id: &str,
    status: ClientStatus,
    text: &str,
    states: BTreeMap<String, TaskState>,
) {
    client.store.change(|state, now, chance| {
        core::report(state, id, now, chance, |one| {
            one.client_status = status;
            one.client_description = text.to_owned();
            if !states.is_empty() {
                one.task_states = states;
            }
        });
    });
}
