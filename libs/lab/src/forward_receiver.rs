//! A thin server of Fluentd's Forward protocol that acknowledges, counts, and misbehaves as told.
//!
//! In: a [`Behaviour`] that can be changed at any time. Out: what arrived: records, chunks, and each record's id with how often it
//! came. Used where faults are tested and where throughput is measured: with [`Keep::Numbers`] it does not look into records.

mod handshake;
mod message;
mod serve;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::LabError;

/// What it does with chunks.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// When it acknowledges.
    pub ack: Ack,
    /// Waits so long before it takes each chunk.
    pub delay: Duration,
    /// Closes the connection on a chunk whose entries hold these bytes, without taking it.
    pub refuse: Option<Vec<u8>>,
    /// Closes the connection on every chunk, without taking it.
    pub refuses_all: bool,
    /// Passes over chunks with more bytes of entries than this: no acknowledgement, and the connection goes on.
    pub most_bytes: Option<usize>,
    /// Reads at most so many bytes each second from each connection.
    pub bytes_per_second: Option<usize>,
    /// What it says of keepalive in the handshake; without it a connection ends after its first chunk.
    pub keepalive: bool,
    /// Demands the handshake.
    pub security: Option<Security>,
    /// The field that holds a record's id.
    pub id_field: String,
    /// What it keeps of records.
    pub keep: Keep,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            ack: Ack::EachChunk,
            delay: Duration::ZERO,
            refuse: None,
            refuses_all: false,
            most_bytes: None,
            bytes_per_second: None,
            keepalive: true,
            security: None,
            id_field: "record_id".to_owned(),
            keep: Keep::Ids,
        }
    }
}

/// What is kept of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Their number, as the chunk tells it.
    Numbers,
    /// How often each id came.
    Ids,
    /// How old each was when it arrived.
    Ages,
}

/// When chunks are acknowledged. They count as received in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// At once.
    EachChunk,
    /// Never.
    Never,
    /// So many together in one write, the last one first, before them one of a chunk that nobody sent.
    Together(usize),
    /// At once, each byte in a write of its own.
    Bytewise,
    /// Takes so many chunks of each connection, and then closes it instead of acknowledging the next one that it has taken.
    CutAfter(usize),
}

/// The handshake.
#[derive(Debug, Clone)]
pub struct Security {
    /// What it calls itself.
    pub host: String,
    /// The key.
    pub shared_key: String,
    /// Whether it pretends to know the key: its proof is of another one.
    pub lies: bool,
}

/// What arrived.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Chunks taken.
    pub chunks: u64,
    /// Records taken.
    pub records: u64,
    /// Connections that sent something.
    pub connections: u64,
    /// Id → how often it came.
    pub ids: BTreeMap<String, u32>,
    /// Tag → records.
    pub tags: BTreeMap<String, u64>,
    /// `option.compressed` of the last chunk.
    pub compressed: Option<String>,
    /// Records of the largest chunk.
    pub largest: u64,
}

impl Received {
    /// Records that came more than once, each counted for every time after the first.
    pub fn repeats(&self) -> u64 {
        self.ids.values().map(|count| u64::from(count.saturating_sub(1))).sum()
    }
}

#[derive(Debug)]
struct State {
    behaviour: Mutex<Behaviour>,
    received: Mutex<Received>,
    ages_ns: Mutex<Vec<u64>>,
}

impl State {
    fn behaviour(&self) -> Behaviour {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ages(&self) -> MutexGuard<'_, Vec<u64>> {
        self.ages_ns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running receiver; its connections end with it.
#[derive(Debug)]
pub struct ForwardReceiver {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinSet<()>>,
}

impl ForwardReceiver {
    /// Listens on a port of the kernel's choice.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(behaviour: Behaviour) -> Result<Self, LabError> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), behaviour).await
    }

    /// Listens on this address.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start_on(address: SocketAddr, behaviour: Behaviour) -> Result<Self, LabError> {
        let (behaviour, received) = (Mutex::new(behaviour), Mutex::default());
        let state = Arc::new(State { behaviour, received, ages_ns: Mutex::default() });
        let mut receiver = Self { address, state, acceptor: None };
        receiver.come_back().await?;
        Ok(receiver)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what it does, for open connections too.
    pub fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.state.behaviour.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What arrived so far.
    pub fn received(&self) -> Received {
        self.state.received().clone()
    }

    /// Records so far, without copying the ids.
    pub fn records(&self) -> u64 {
        self.state.received().records
    }

    /// How old records were when they arrived, nanoseconds, since it was asked last.
    pub fn take_ages(&self) -> Vec<u64> {
        std::mem::take(&mut *self.state.ages())
    }

    /// Closes all connections and the port.
    pub async fn go_away(&mut self) {
        if let Some(mut acceptor) = self.acceptor.take() {
            acceptor.shutdown().await;
        }
    }

    /// Listens again on the same port; what arrived before still counts.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub async fn come_back(&mut self) -> Result<(), LabError> {
        let step = || LabError::io(format!("listen on {} for Forward", self.address));
        let listener = TcpListener::bind(self.address).await.map_err(step())?;
        self.address = listener.local_addr().map_err(step())?;
        let state = Arc::clone(&self.state);
        let mut acceptor = JoinSet::new();
        acceptor.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(serve::serve(client, Arc::clone(&state)));
                while connections.try_join_next().is_some() {}
            }
        });
        self.acceptor = Some(acceptor);
        Ok(())
    }
}
