//! Streams ask the cache's task for their resource sets.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::xds::cache::run::Subscribe;
use crate::xds::resources::ResourceSet;
use crate::xds::server::{ProxyNode, ProxySource, Refusal};

/// The streams' end of the cache's task.
#[derive(Debug)]
pub(super) struct CacheSource {
    /// To the cache.
    pub(super) subscribers: mpsc::Sender<Subscribe>,
}

impl ProxySource for CacheSource {
    async fn subscribe(
        &self,
        node: Arc<ProxyNode>,
    ) -> Result<watch::Receiver<Arc<ResourceSet>>, Refusal> {
        let stopping = || Refusal::NotReady("it is stopping".to_owned());
        let (answer, answered) = oneshot::channel();
        let subscribe =
            Subscribe { node: node.metadata.clone(), cluster: node.cluster.clone(), answer };
        self.subscribers.send(subscribe).await.map_err(|_| stopping())?;
        answered.await.map_err(|_| stopping())?.map_err(Refusal::NotReady)
    }
}
