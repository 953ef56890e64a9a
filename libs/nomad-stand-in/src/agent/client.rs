//! The client: runs the allocations of this host's nodes and says what becomes of them.
//!
//! In: the state, as it changes. Out: processes, folders, registrations, and reports into the state. One runner per
//! allocation ([`runner`]); a runner follows its allocation's record and ends when all its tasks are dead.
//!
//! **Invariants**: an allocation has at most one runner; what a killed agent left running is adopted by the next one, which
//! finds it through files in the allocation's folder.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::settings::Settings;
use super::state::{Allocation, ClientStatus, Desired};
use super::store::Store;

mod artifact;
mod board;
mod bridge;
mod checks;
mod conductor;
mod consul;
mod driver;
mod environment;
pub(crate) mod executor;
mod folders;
mod health;
mod image;
mod judgement;
mod prepare;
mod process;
mod registrar;
mod runner;
mod services;
mod stages;
mod task;
mod template;

pub(crate) use bridge::is_possible as is_bridge_possible;
pub(crate) use checks::CheckResult;
pub(crate) use consul::Consul;

/// How often what Consul refused is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// What every runner uses.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) store: Arc<Store>,
    pub(crate) settings: Settings,
    pub(crate) http: reqwest::Client,
    pub(crate) consul: Option<Consul>,
    /// Results of checks that the client runs itself, by allocation.
    pub(crate) checks: Mutex<BTreeMap<String, BTreeMap<String, CheckResult>>>,
    /// Registrations that Consul should no longer have.
    leftovers: Mutex<BTreeSet<String>>,
    /// One allocation at a time joins the bridge.
    bridges: tokio::sync::Mutex<()>,
    /// Addresses on the bridge, by allocation.
    addresses: Mutex<BTreeMap<String, Ipv4Addr>>,
    /// Restarts that an operator asked for, by allocation: counted up.
    pub(crate) restarts: tokio::sync::watch::Sender<BTreeMap<String, u64>>,
}

impl Client {
    /// An agent's client.
    pub(crate) fn new(store: Arc<Store>, settings: Settings) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let consul = settings
            .consul
            .as_ref()
            .map(|(address, token)| Consul::new(http.clone(), address.clone(), token.clone()));
        Ok(Self {
            store,
            settings,
            http,
            consul,
            checks: Mutex::default(),
            leftovers: Mutex::default(),
            bridges: tokio::sync::Mutex::default(),
            addresses: Mutex::default(),
            restarts: tokio::sync::watch::channel(BTreeMap::new()).0,
        })
    }

    /// The folder of an allocation.
    pub(crate) fn folder(&self, allocation: &str) -> PathBuf {
        self.settings.data_dir.join("alloc").join(allocation)
    }

    /// Processes with which every task ends: the one that an operator named, and a dev agent itself.
    fn lifelines(&self) -> Vec<i32> {
        let own = i32::try_from(std::process::id()).ok().filter(|_| self.settings.is_dev);
        self.settings.lifeline.into_iter().chain(own).collect()
    }

    pub(crate) fn checks_of(&self, allocation: &str) -> BTreeMap<String, CheckResult> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.get(allocation).cloned().unwrap_or_default()
    }

    /// Runs allocations until shutdown. In dev mode their tasks are ended then; else they go on without the agent.
    pub(crate) async fn run(
        self: Arc<Self>,
        shutdown: CancellationToken,
    ) -> Result<(), std::io::Error> {
        let mut states = self.store.subscribe();
        let mut runners: JoinSet<String> = JoinSet::new();
        let mut running: BTreeSet<String> = BTreeSet::new();
        let mut again = tokio::time::interval(AGAIN);
        self.clean_up_registrations().await;
        loop {
            for one in self.unattended(&running) {
                running.insert(one.id.clone());
                let client = Arc::clone(&self);
                runners.spawn(async move {
                    let id = one.id.clone();
                    runner::run(&client, one).await;
                    id
                });
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                changed = states.changed() => if changed.is_err() { break },
                _ = again.tick() => self.deregister_leftovers().await,
                Some(ended) = runners.join_next() => match ended {
                    Ok(id) => { running.remove(&id); }
                    Err(error) => return Err(std::io::Error::other(error)),
                },
            }
        }
        if self.settings.is_dev {
            self.end_everything(&mut runners).await;
        }
        runners.shutdown().await;
        Ok(())
    }

    fn unattended(&self, running: &BTreeSet<String>) -> Vec<Arc<Allocation>> {
        let state = self.store.read();
        let is_unattended =
            |one: &&Arc<Allocation>| !one.client_status.is_terminal() && !running.contains(&one.id);
        state.allocations.values().filter(is_unattended).map(Arc::clone).collect()
    }

    /// Stops every allocation as Nomad's dev agent does when it ends.
    async fn end_everything(&self, runners: &mut JoinSet<String>) {
        self.store.change(|state, _, _| {
            let live: Vec<_> = state
                .allocations
                .values()
                .filter(|one| !one.is_terminal())
                .map(Arc::clone)
                .collect();
            for one in live {
                let mut stopped = Allocation::clone(&one);
                stopped.desired_status = Desired::Stop;
                stopped.desired_transition.no_shutdown_delay = Some(true);
                state.put_allocation(stopped);
            }
        });
        while runners.join_next().await.is_some() {}
    }

    /// Removes a registration, now or, while Consul does not answer, later.
    async fn deregister(&self, consul: &Consul, id: &str) {
        let is_gone = consul.deregister(id).await;
        let mut leftovers = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner);
        if is_gone {
            leftovers.remove(id);
        } else {
            leftovers.insert(id.to_owned());
        }
    }

    async fn deregister_leftovers(&self) {
        let Some(consul) = &self.consul else { return };
        let ids = self.leftovers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for id in ids {
            self.deregister(consul, &id).await;
        }
    }

    /// Removes registrations of allocations that are over: what an agent that was killed left in Consul.
    async fn clean_up_registrations(&self) {
        let state = self.store.read();
        let over: BTreeSet<String> = state
            .allocations
            .values()
            .filter(|one| one.client_status != ClientStatus::Running && one.is_terminal())
            .map(|one| one.id.clone())
            .collect();
        let Some(consul) = self.consul.as_ref().filter(|_| !over.is_empty()) else { return };
        match consul.service_ids().await {
            Ok(ids) => {
                for id in ids.iter().filter(|id| {
                    over.iter().any(|one| id.starts_with(&format!("_nomad-task-{one}")))
                }) {
                    self.deregister(consul, id).await;
                }
            }
            Err(error) => tracing::warn!(%error, "Cannot look for old registrations in Consul"),
        }
    }
}
