//! Connections to the gateway's Envoy: HTTP/2 with prior knowledge, opened when they are needed and again when they are gone.
//!
//! In: a request with its whole body. Out: the response as it begins. Calls share a connection, up to as many as Envoy
//! takes of it at a time: those beyond get another one, so that streams which stay open keep nobody waiting.
//!
//! **Invariants**: a request is sent again only when Envoy says, or it is sure, that nobody has read it.
//! **Absent**: time limits, which are the callers'.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::debug;

/// How much of an answer may be on its way before it is read, and of all answers.
const STREAM_WINDOW: u32 = 1 << 20;
const WINDOW: u32 = 8 << 20;
/// A request that nobody has read is sent so often.
const ATTEMPTS: usize = 3;
/// Connections at a time; calls beyond what these take wait their turn.
const MOST: usize = 8;
/// Calls on a connection before Envoy has said how many it takes: what the control plane has its listeners say.
const EXPECTED: usize = 1000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// Nobody listens.
    #[error("no connection to {address}")]
    Connect {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    /// The connection or the call was ended.
    #[error("the call was broken off")]
    Call(#[from] h2::Error),
}

/// A call's place on its connection, to be kept until the call has ended.
pub(super) type Place = Arc<()>;

/// See the module.
#[derive(Debug)]
pub(super) struct Connections {
    address: SocketAddr,
    open: Mutex<Vec<Open>>,
    /// One opens a connection, the others wait for that.
    opening: tokio::sync::Mutex<()>,
    /// Reads and writes; what is left over ends with the value.
    driven: Mutex<JoinSet<()>>,
}

/// A connection; each call has a clone of `calls`.
#[derive(Debug, Clone)]
struct Open {
    sender: SendRequest<Bytes>,
    calls: Place,
}

impl Open {
    fn has_place(&self) -> bool {
        Arc::strong_count(&self.calls) <= self.sender.current_max_send_streams()
    }
}

impl Connections {
    pub(super) fn to(address: SocketAddr) -> Self {
        let (open, opening) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { address, open, opening, driven: Mutex::default() }
    }

    /// Sends it; returns when it begins to be answered. Dropping the response ends the call.
    pub(super) async fn call(
        &self,
        request: Request<()>,
        body: Bytes,
    ) -> Result<(Response<RecvStream>, Place), Lost> {
        let mut attempt = 1;
        loop {
            let Open { sender, calls } = self.place().await?;
            match exchange(sender, request.clone(), body.clone()).await {
                Err(error) if attempt < ATTEMPTS && is_unread(&error) => attempt += 1,
                outcome => return Ok((outcome?, calls)),
            }
        }
    }

    /// A place for a call, on a connection that is open or on a new one.
    async fn place(&self) -> Result<Open, Lost> {
        if let Some(open) = self.known().await {
            return Ok(open);
        }
        let _one = self.opening.lock().await;
        // Somebody else may have opened one meanwhile.
        if let Some(open) = self.known().await {
            return Ok(open);
        }
        let open = Open { sender: self.connect().await?.ready().await?, calls: Place::default() };
        self.open().push(open.clone());
        Ok(open)
    }

    /// A place on a connection that is open; those that have ended are forgotten.
    async fn known(&self) -> Option<Open> {
        loop {
            let Open { sender, calls } = self.pick()?;
            match sender.ready().await {
                Ok(sender) => return Some(Open { sender, calls }),
                Err(_) => self.open().retain(|open| !Arc::ptr_eq(&open.calls, &calls)),
            }
        }
    }

    /// The first connection with a place; when there are as many as there may be, that with the fewest calls.
    fn pick(&self) -> Option<Open> {
        let open = self.open();
        let calls = |one: &&Open| Arc::strong_count(&one.calls);
        let fewest = || open.iter().min_by_key(calls).filter(|_| open.len() >= MOST);
        open.iter().find(|one| one.has_place()).or_else(fewest).cloned()
    }

    fn open(&self) -> MutexGuard<'_, Vec<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, Lost> {
        let lost = |source| Lost::Connect { address: self.address, source };
        let stream = TcpStream::connect(self.address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut settings = Builder::new();
        settings.initial_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW);
        settings.initial_max_send_streams(EXPECTED).enable_push(false);
        let (sender, connection) = settings.handshake(stream).await?;
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        while driven.try_join_next().is_some() {}
        driven.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "A connection to the gateway's Envoy ended");
            }
        });
        Ok(sender)
    }
}

async fn exchange(
    mut sender: SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> Result<Response<RecvStream>, h2::Error> {
    let (response, mut stream) = sender.send_request(request, false)?;
    // In the same turn as the head: both are written at once.
    stream.send_data(body, true)?;
    response.await
}

/// Whether Envoy has not looked at the request: it closes the connection in good order, or has no room.
fn is_unread(error: &h2::Error) -> bool {
    let is_closing = error.is_go_away() && error.is_remote();
    (is_closing && error.reason() == Some(Reason::NO_ERROR))
        || error.reason() == Some(Reason::REFUSED_STREAM)
}
