//! The catalog's task: events in, coalesced snapshots out.
//!
//! The first change after a quiet moment leaves at once; what follows within the window leaves together.
//! Before the gate is open only people look: snapshots leave seldom, and the first whole one at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::catalog::CatalogSnapshot;
use crate::catalog::gate::Readiness;
use crate::catalog::last_good::LastGood;
use crate::catalog::store::{CatalogStore, Change};
use crate::registry::RegistryEvent;

/// Between snapshots that are not served: deriving a model from each would cost more than reading the registry.
const STARTING_WINDOW: Duration = Duration::from_millis(250);

/// What the catalog tells the rest of the process.
#[derive(Debug, Clone, Default)]
pub struct CatalogState {
    /// Whether `snapshot` may be served, and what limits it.
    pub readiness: Readiness,
    /// The newest snapshot; before readiness it is incomplete.
    pub snapshot: Arc<CatalogSnapshot>,
}

/// The task's ends.
#[derive(Debug)]
pub struct CatalogTask {
    /// The writer.
    pub store: CatalogStore,
    /// From the registries.
    pub events: mpsc::Receiver<RegistryEvent>,
    /// To the mesh stage, the API and readiness.
    pub state: watch::Sender<CatalogState>,
    /// To the writer of the file on disk; latest wins.
    pub last_good: watch::Sender<Option<Arc<LastGood>>>,
    /// How long changes after the first are gathered.
    pub window: Duration,
    /// How long after a change the last good state is handed on; it is a copy of everything, so not at each change.
    pub save_after: Duration,
    /// The start of the process, from which the store counts.
    pub started: Instant,
}

impl CatalogTask {
    /// Runs until every registry has ended or `shutdown`; hands on the last good state then, if it is newer.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pending = Change::Nothing;
        let mut not_before = self.started;
        let mut save_at: Option<Instant> = None;
        let mut readiness = Readiness::Starting;
        loop {
            let gate_opens = self.store.next_change_ms(self.now_ms()).map(Duration::from_millis);
            let gate_opens = gate_opens.map(|after| self.started + after);
            let publish_at = (pending > Change::Nothing).then_some(not_before);
            let wake = [publish_at, gate_opens, save_at].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                event = self.events.recv() => match event {
                    Some(event) => pending = pending.max(self.drain(event)),
                    None => break,
                },
                () = sleep_until(wake), if wake.is_some() => {}
            }
            let new_readiness = self.store.readiness(self.now_ms());
            if new_readiness != readiness {
                announce(&new_readiness);
                readiness = new_readiness;
                pending = Change::Mesh;
                not_before = Instant::now();
            }
            if pending > Change::Nothing && Instant::now() >= not_before {
                self.publish(readiness.clone());
                if pending == Change::Mesh {
                    save_at.get_or_insert(Instant::now() + self.save_after);
                }
                pending = Change::Nothing;
                let is_served = readiness.is_ready();
                let window = if is_served { self.window } else { STARTING_WINDOW };
                not_before = Instant::now() + window;
            }
            if save_at.is_some_and(|at| Instant::now() >= at) {
                save_at = None;
                self.save();
            }
        }
        if pending == Change::Mesh || save_at.is_some() {
            self.save();
        }
    }

    fn save(&self) {
        if let Some(state) = self.store.last_good() {
            self.last_good.send_replace(Some(Arc::new(state)));
        }
    }

    /// Folds in an event and whatever waits behind it.
    fn drain(&mut self, first: RegistryEvent) -> Change {
        let now_ms = self.now_ms();
        let mut change = self.store.apply(first, now_ms);
        while let Ok(event) = self.events.try_recv() {
            change = change.max(self.store.apply(event, now_ms));
        }
        change
    }

    fn publish(&mut self, readiness: Readiness) {
        let snapshot = self.store.publish();
        self.state.send_replace(CatalogState { readiness, snapshot });
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn announce(readiness: &Readiness) {
    match readiness.reason() {
        None => info!("The catalog is complete"),
        Some(reason) if readiness.is_ready() => warn!(reason, "Serving a limited catalog"),
        Some(reason) => info!(reason, "Not serving yet"),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::catalog::gate::GateTimes;
    use crate::catalog::store::testing::a_registration;

    #[tokio::test]
    async fn what_changed_just_before_a_stop_is_kept_for_the_next_start() {
        let (events, received) = mpsc::channel(8);
        let (state, _) = watch::channel(CatalogState::default());
        let (last_good, kept) = watch::channel(None);
        let task = CatalogTask {
            store: CatalogStore::new(GateTimes { last_good_after_ms: 0, deadline_ms: 0 }, None),
            events: received,
            state,
            last_good,
            window: Duration::ZERO,
            save_after: Duration::from_secs(3600),
            started: Instant::now(),
        };
        let shutdown = CancellationToken::new();
        let name: Arc<str> = "orders".into();
        let all = [
            RegistryEvent::Listing(BTreeSet::from([name.clone()])),
            RegistryEvent::Documents(BTreeMap::new()),
            RegistryEvent::Service {
                name: name.clone(),
                instances: vec![a_registration("orders", "trading", 1)],
            },
        ];
        let mut snapshots = task.state.subscribe();
        let stop = async {
            for event in all {
                events.send(event).await.unwrap();
            }
            let is_complete = |state: &CatalogState| state.readiness == Readiness::Complete;
            snapshots.wait_for(is_complete).await.unwrap();
            shutdown.cancel();
        };
        tokio::join!(task.run(shutdown.clone()), stop);
        let kept = kept.borrow().clone().expect("a state is handed on");
        assert!(kept.names.contains_key(&name), "{kept:?}");
    }
}
