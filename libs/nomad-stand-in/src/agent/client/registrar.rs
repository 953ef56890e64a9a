//! What an allocation has registered, in Consul or with Nomad itself, and how its checks are.
//!
//! In: the allocation's record. Out: registrations made, changed and removed; a registration that is the same stays untouched, so that
//! its checks do not start anew.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use super::environment::Environment;
use super::services::{self, Registration};
use super::{Client, checks};
use crate::agent::state::{Allocation, Node, TaskPhase};

/// Registers for one allocation.
#[derive(Clone, Copy)]
pub(super) struct Registrar<'a> {
    pub(super) client: &'a Client,
    pub(super) id: &'a str,
    pub(super) node: &'a Node,
    /// The address inside its own network.
    pub(super) inside: Option<IpAddr>,
}

impl Registrar<'_> {
    /// What an earlier agent registered, and stays as it is.
    pub(super) async fn adopted(&self, first: &Allocation) -> Vec<Registration> {
        let has_run = first.task_states.values().any(|state| state.state == TaskPhase::Running);
        let Some(consul) = self.client.consul.as_ref().filter(|_| has_run) else {
            return Vec::new();
        };
        let ids = consul.service_ids().await.unwrap_or_default();
        self.registrations(first).into_iter().filter(|one| ids.contains(&one.id)).collect()
    }

    /// What it is to register.
    pub(super) fn registrations(&self, allocation: &Allocation) -> Vec<Registration> {
        let Some(group) = allocation.group() else { return Vec::new() };
        let environment = Environment::of_group(allocation, group, self.node, self.inside);
        services::of(allocation, group, &environment)
    }

    /// Registers what is new or differs, and removes what is no longer wanted; gives what is registered then.
    pub(super) async fn register(
        self,
        allocation: Arc<Allocation>,
        old: Vec<Registration>,
        new: Vec<Registration>,
    ) -> Vec<Registration> {
        let gone: Vec<Registration> =
            old.iter().filter(|one| new.iter().all(|other| other.id != one.id)).cloned().collect();
        self.deregister(&gone).await;
        for one in new.iter().filter(|one| !old.contains(one)) {
            if !one.is_consul {
                let service = services::nomad(&allocation, &self.node.datacenter, one);
                self.client.store.change(|state, _, _| state.put_service(service));
            } else if let Some(consul) = &self.client.consul {
                consul.register(&one.body).await;
            }
        }
        new
    }

    /// Removes registrations.
    pub(super) async fn deregister(&self, registered: &[Registration]) {
        for one in registered {
            if !one.is_consul {
                self.client
                    .store
                    .change(|state, _, _| state.remove_services(|service| service.id == one.id));
            } else if let Some(consul) = &self.client.consul {
                self.client.deregister(consul, &one.id).await;
            }
        }
        let mut checks = self.client.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.remove(self.id);
    }

    /// Whether every check that counts passes.
    pub(super) async fn do_checks_pass(&self, registered: &[Registration]) -> bool {
        let mut states = super::consul::States::new();
        if registered.iter().any(|one| one.is_consul && !one.checks.is_empty()) {
            let Some(consul) = &self.client.consul else { return false };
            match consul.checks().await {
                Ok(known) => states = known,
                Err(error) => {
                    tracing::warn!(error, "Consul does not say how checks are");
                    return false;
                }
            }
        }
        for result in self.client.checks_of(self.id).into_values() {
            states
                .entry(result.registration)
                .or_default()
                .push((result.check, result.status.to_owned()));
        }
        services::pass(registered, &states)
    }
}

/// Runs the checks of an allocation that are Nomad's own, until it is dropped.
pub(super) async fn run_checks(
    client: &Client,
    allocation: Arc<Allocation>,
    registrations: Vec<Registration>,
) {
    checks::run(client, &allocation, &registrations).await;
}
