//! The cache's task: catalog snapshots and subscribing proxies in, resource sets out.

use std::sync::Arc;
use std::time::Duration;

use contract::node::NodeMetadata;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::catalog::run::CatalogState;
use crate::mesh::{MeshModel, model};
use crate::xds::cache::ResourceCache;
use crate::xds::resources::ResourceSet;

/// How often kinds of proxies that nobody is any more are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// A proxy that wants its resource sets.
#[derive(Debug)]
pub struct Subscribe {
    /// Its metadata.
    pub node: NodeMetadata,
    /// Its `node.cluster`.
    pub cluster: String,
    /// Where the answer goes; `Err` says why the control plane is not ready.
    pub answer: oneshot::Sender<Result<watch::Receiver<Arc<ResourceSet>>, String>>,
}

/// The task's ends.
#[derive(Debug)]
pub struct CacheTask {
    /// From the catalog.
    pub state: watch::Receiver<CatalogState>,
    /// From streams; bounded, so that a storm waits here.
    pub subscribers: mpsc::Receiver<Subscribe>,
    /// Sidecars that reach more targets ask for clusters as they need them.
    pub on_demand_above: usize,
    /// To the API.
    pub model: watch::Sender<Arc<MeshModel>>,
}

impl CacheTask {
    /// Runs until the catalog's task ends or `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut cache = ResourceCache::new(self.on_demand_above);
        let mut is_ready = self.follow(&mut cache);
        let mut forget = tokio::time::interval(FORGET_EVERY);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = self.state.changed() => match changed {
                    Ok(()) => is_ready = self.follow(&mut cache),
                    Err(_) => return,
                },
                Some(subscribe) = self.subscribers.recv() => {
                    let answer = match is_ready {
                        true => Ok(cache.subscribe(&subscribe.node, &subscribe.cluster)),
                        false => Err(self.reason()),
                    };
                    if subscribe.answer.send(answer).is_err() {
                        debug!("A proxy left before it was subscribed");
                    }
                }
                _ = forget.tick() => cache.forget_unused(),
            }
        }
    }

    /// Derives the newest model and hands it on; `false` while the catalog may not be served.
    fn follow(&mut self, cache: &mut ResourceCache) -> bool {
        let state = self.state.borrow_and_update().clone();
        let before = self.model.borrow().clone();
        let model = Arc::new(model::derive(&before, state.snapshot));
        let is_ready = state.readiness.is_ready();
        if is_ready {
            cache.update(model.clone());
        }
        self.model.send_replace(model);
        is_ready
    }

    fn reason(&self) -> String {
        self.state.borrow().readiness.reason().unwrap_or("starting").to_owned()
    }
}
