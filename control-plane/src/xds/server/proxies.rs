//! The proxies that are connected, for whoever wants to know how they stand.
//!
//! In: streams enter when they begin and leave when they end. Out: [`ProxyTable::list`], [`ProxyTable::status`].
//!
//! **Invariants**: the lock is held for a map operation, never across an await; a stream answers for itself,
//! so that nothing has to be kept up to date for nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::xds::resources::ResourceType;
use crate::xds::stream::StreamStatus;

use super::node::ProxyNode;

/// How long a stream may take to answer: one whose client does not read answers nobody.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks a stream how it stands.
pub(super) type Query = oneshot::Sender<StreamStatus>;

/// The connected proxies; clones are the same table.
#[derive(Debug, Clone, Default)]
pub struct ProxyTable(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    streams: BTreeMap<u64, ConnectedProxy>,
}

/// One stream.
#[derive(Debug, Clone)]
pub struct ConnectedProxy {
    /// Who it is.
    pub node: Arc<ProxyNode>,
    /// The type that its stream carries; `None`: all of them.
    pub only: Option<ResourceType>,
    /// Since when.
    pub since: Instant,
    queries: mpsc::Sender<Query>,
}

/// A stream that does not say how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoStatus {
    /// No such proxy is connected here.
    #[error("the proxy is not connected to this control plane; ask the other replicas")]
    NotConnected,
    /// It does not read what it is sent.
    #[error("the proxy's stream does not answer; the proxy does not read what it is sent")]
    Stalled,
}

impl ProxyTable {
    /// Every stream, in the order of proxy ids; a proxy that has just reconnected may be there twice.
    pub fn list(&self) -> Vec<ConnectedProxy> {
        let mut proxies: Vec<_> = self.lock().streams.values().cloned().collect();
        proxies.sort_by(|a, b| a.node.id.cmp(&b.node.id));
        proxies
    }

    /// Streams that are open.
    pub fn len(&self) -> usize {
        self.lock().streams.len()
    }

    /// Whether no proxy is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How a proxy stands: its newest aggregated stream, and for a type with a stream of its own the newest of those.
    ///
    /// # Errors
    /// It is not connected, or does not read.
    pub async fn status(&self, id: &str) -> Result<StreamStatus, NoStatus> {
        let mut newest: BTreeMap<Option<ResourceType>, ConnectedProxy> = BTreeMap::new();
        for proxy in self.lock().streams.values().filter(|proxy| proxy.node.id == id) {
            newest.insert(proxy.only, proxy.clone());
        }
        let mut types = BTreeMap::new();
        for proxy in newest.into_values() {
            for status in proxy.status().await?.types {
                if status.is_asked || !types.contains_key(&status.kind) {
                    types.insert(status.kind, status);
                }
            }
        }
        if types.is_empty() {
            return Err(NoStatus::NotConnected);
        }
        Ok(StreamStatus { types: types.into_values().collect() })
    }

    /// Enters a stream until the returned place is dropped.
    pub(super) fn enter(
        &self,
        node: Arc<ProxyNode>,
        only: Option<ResourceType>,
        now: Instant,
    ) -> (Place, mpsc::Receiver<Query>) {
        let (queries, receiver) = mpsc::channel(1);
        let mut table = self.lock();
        table.last += 1;
        let key = table.last;
        table.streams.insert(key, ConnectedProxy { node, only, since: now, queries });
        (Place { table: self.clone(), key }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Every operation leaves the map whole, whatever panicked elsewhere.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectedProxy {
    /// How this stream stands.
    ///
    /// # Errors
    /// It has ended, or the proxy does not read.
    pub async fn status(&self) -> Result<StreamStatus, NoStatus> {
        let ask = async {
            let (query, answer) = oneshot::channel();
            self.queries.send(query).await.map_err(|_| NoStatus::NotConnected)?;
            answer.await.map_err(|_| NoStatus::NotConnected)
        };
        tokio::time::timeout(PATIENCE, ask).await.unwrap_or(Err(NoStatus::Stalled))
    }
}

/// A stream's place in the table.
#[derive(Debug)]
pub(super) struct Place {
    table: ProxyTable,
    key: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.lock().streams.remove(&self.key);
    }
}
