//! The agent's ports that others on the network reach: connections are taken, bounded in number, served, and ended in order.
//!
//! In: a listener, how HTTP is spoken there, and what serves a connection. Out: nothing; each connection is a task of the port's.
//! Used for spans and for metrics.
//!
//! **Invariants**: a connection that fails concerns nobody else; those beyond the bound are closed at once and counted; at
//! shutdown requests under way have [`GRACE`] to end.
//!
//! **Absent**: what is asked and answered there, and how long that may take; TLS.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long requests under way may take when the process stops.
const GRACE: Duration = Duration::from_secs(5);
/// A pause after a connection could not be taken, which is so when the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that is served.
#[derive(Debug)]
pub(crate) struct Port {
    /// Where connections come.
    pub(crate) listener: TcpListener,
    /// How HTTP is spoken.
    pub(crate) http: Builder<TokioExecutor>,
    /// Connections that may still come; ports may share them.
    pub(crate) places: Arc<Semaphore>,
    /// Those that were closed because there was no place.
    pub(crate) refused: Counter,
}

impl Port {
    /// Serves until shutdown. `connect` says what a connection is, and what answers on it.
    pub(crate) async fn serve<I, S>(
        self,
        connect: impl Fn(TcpStream, SocketAddr) -> (I, S),
        shutdown: CancellationToken,
    ) where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible>
            + Send
            + 'static,
        S::Future: Send + 'static,
    {
        let Self { listener, http, places, refused } = self;
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                // A connection that panicked has written so to standard error.
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            let nodelay = accepted.and_then(|it| it.0.set_nodelay(true).map(|()| it));
            let (stream, peer) = match nodelay {
                Ok(connection) => connection,
                Err(error) => {
                    warn!(%error, "A connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                debug!(%peer, "A connection was refused: there are as many as there may be");
                refused.inc();
                continue;
            };
            let (io, service) = connect(stream, peer);
            let connection = http.serve_connection(TokioIo::new(io), service).into_owned();
            let connection = graceful.watch(connection);
            connections.spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%peer, %error, "A connection failed");
                }
                drop(place);
            });
        }
        drop(listener);
        if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
            warn!("Requests under way were cut off");
        }
    }
}
