//! What each class of proxies refuses, across streams.
//!
//! In: events of streams. Out: a [`Quarantine`] for each class, and the wake-up when it changes.
//!
//! A class is a client's name and version, such as `envoy 1.40.0`: whether it can read a resource depends on that.
//!
//! **Invariants**: the rules are [`Quarantine`]'s; a client that invents classes gets no memory for them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing::warn;

use crate::xds::resources::ResourceType;
use crate::xds::stream::{Event, Quarantine};

use super::metrics::XdsMetrics;
use super::node::ProxyNode;

/// Classes that are remembered; proxies of any further one are judged stream by stream.
const MAX_CLASSES: usize = 64;

/// Every class; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Classes(Arc<Mutex<BTreeMap<String, watch::Sender<Arc<Quarantine>>>>>);

/// A proxy's view of its class.
#[derive(Debug)]
pub(super) struct Class {
    agent: String,
    id: Arc<str>,
    known: watch::Sender<Arc<Quarantine>>,
    changes: watch::Receiver<Arc<Quarantine>>,
    is_empty: bool,
}

impl Classes {
    /// The class of a proxy.
    pub(super) fn of(&self, node: &ProxyNode) -> Class {
        // Every operation leaves the map whole, whatever panicked elsewhere.
        let mut classes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match classes.get(&node.agent) {
            Some(known) => known.clone(),
            None => {
                let known = watch::Sender::new(Arc::default());
                if classes.len() < MAX_CLASSES {
                    classes.insert(node.agent.clone(), known.clone());
                }
                known
            }
        };
        let mut changes = known.subscribe();
        // What is known already is news to this proxy.
        changes.mark_changed();
        let (agent, id) = (node.agent.clone(), Arc::from(node.id.as_str()));
        Class { agent, id, known, changes, is_empty: true }
    }
}

impl Class {
    /// What is known, when that changed.
    pub(super) fn news(&mut self) -> Option<Arc<Quarantine>> {
        let has_changed = self.changes.has_changed().unwrap_or(false);
        has_changed.then(|| {
            let known = self.changes.borrow_and_update().clone();
            self.is_empty = known.is_empty();
            known
        })
    }

    /// Whether anything is known that may yet change.
    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Waits for news; never ends when there can be none.
    pub(super) async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Learns from what happened on a stream.
    pub(super) fn learn(&self, event: &Event, metrics: &XdsMetrics) {
        let kind = match event {
            Event::Quarantined(refusal) => refusal.kind,
            Event::Vindicated { kind, .. } => *kind,
            _ => return,
        };
        let mut held = (0, 0);
        let is_news = self.known.send_if_modified(|known| {
            let next = match event {
                Event::Quarantined(refusal) => known.refuse(&self.id, refusal),
                Event::Vindicated { kind, name, version } => known.accept(*kind, name, *version),
                _ => None,
            };
            let Some(next) = next else { return false };
            held = (known.held(kind), next.held(kind));
            *known = Arc::new(next);
            true
        });
        if is_news {
            self.report(kind, held, event, metrics);
        }
    }

    fn report(
        &self,
        kind: ResourceType,
        (before, after): (usize, usize),
        event: &Event,
        metrics: &XdsMetrics,
    ) {
        metrics.held_back(kind, before, after);
        if let Event::Quarantined(refusal) = event
            && after > before
        {
            let (name, message) = (&refusal.name, &refusal.refused.message);
            warn!(
                class = self.agent,
                kind = kind.as_str(),
                %name,
                %message,
                "Holding back from all proxies of this version what two of them refused"
            );
        }
    }
}
