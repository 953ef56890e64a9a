//! The connection to the gateway's Envoy: HTTP/2 with prior knowledge, opened when it is needed and again when it is gone.
//!
//! In: a request with its whole body. Out: the response as it begins. All calls share the connection; those beyond what
//! Envoy allows at a time wait their turn.
//!
//! **Invariants**: a request is sent again only when Envoy says, or it is sure, that nobody has read it.
//! **Absent**: time limits, which are the callers'.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

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

/// See the module.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    open: Mutex<Option<SendRequest<Bytes>>>,
    /// One opens it, the others wait for that.
    opening: tokio::sync::Mutex<()>,
    /// Reads and writes; what is left over ends with the value.
    driven: Mutex<JoinSet<()>>,
}

impl Connection {
    pub(super) fn to(address: SocketAddr) -> Self {
        let (open, opening) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { address, open, opening, driven: Mutex::default() }
    }

    /// Sends it; returns when it begins to be answered. Dropping the response ends the call.
    pub(super) async fn call(
        &self,
        request: Request<()>,
        body: Bytes,
    ) -> Result<Response<RecvStream>, Lost> {
        let mut attempt = 1;
        loop {
            let sender = self.sender().await?;
            match exchange(sender, request.clone(), body.clone()).await {
                Err(error) if attempt < ATTEMPTS && is_unread(&error) => attempt += 1,
                outcome => return Ok(outcome?),
            }
        }
    }

    /// A place for a call, on the connection that is open or on a new one.
    async fn sender(&self) -> Result<SendRequest<Bytes>, Lost> {
        let known = self.known();
        if let Some(sender) = known
            && let Ok(sender) = sender.ready().await
        {
            return Ok(sender);
        }
        let _one = self.opening.lock().await;
        // Somebody else may have opened it meanwhile.
        if let Some(sender) = self.known()
            && let Ok(sender) = sender.ready().await
        {
            return Ok(sender);
        }
        let sender = self.connect().await?;
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender.clone());
        Ok(sender.ready().await?)
    }

    fn known(&self) -> Option<SendRequest<Bytes>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, Lost> {
        let lost = |source| Lost::Connect { address: self.address, source };
        let stream = TcpStream::connect(self.address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut settings = Builder::new();
        settings.initial_window_size(STREAM_WINDOW).initial_connection_window_size(WINDOW);
        let (sender, connection) = settings.enable_push(false).handshake(stream).await?;
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        while driven.try_join_next().is_some() {}
        driven.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "The connection to the gateway's Envoy ended");
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
