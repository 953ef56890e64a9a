//! One connection of a proxy: HTTP/2, its streams and its keepalive, in one task.
//!
//! In: a socket, an [`XdsServer`]. Out: each discovery stream's loop, polled here; other services' requests are handed
//! to [`super::services`]. [`super::transport`] is the only caller.
//!
//! **Invariants**: what a stream says and the write that carries it happen in the same poll, and so do a read and the
//! stream's answer to it: with thousands of connections, hops between tasks are what an event costs most.
//! A peer that does not answer pings is dropped.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use h2::server::{Connection, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::codegen::http::Request;
use tracing::debug;

use super::alarm::Alarm;
use super::bell::{Bell, Door};
use super::services::Services;
use super::{ProxySource, XdsServer};

/// How long a peer may take until it speaks HTTP/2.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How often a peer is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long it may take to answer.
const PING_PATIENCE: Duration = Duration::from_secs(20);

fn builder() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(100)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(2 << 20)
        .max_header_list_size(16 << 10)
        .max_pending_accept_reset_streams(20);
    builder
}

/// Serves a connection until its end; after `shutdown` it takes no new streams.
pub(super) async fn serve<S: ProxySource, T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    peer: Option<SocketAddr>,
    xds: XdsServer<S>,
    services: Services,
    shutdown: CancellationToken,
) {
    let connection = match tokio::time::timeout(HANDSHAKE, builder().handshake(io)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(?peer, %error, "No HTTP/2 on a connection"),
        Err(_) => return debug!(?peer, "No HTTP/2 on a connection in time"),
    };
    let door = Door::default();
    let bells = [Bell::new(&door), Bell::new(&door), Bell::new(&door)];
    let mut served = Served {
        keepalive: None,
        connection,
        streams: FuturesUnordered::new(),
        shutdown: Some(Box::pin(shutdown.cancelled_owned())),
        peer,
        xds,
        services,
    };
    served.keepalive = served.connection.ping_pong().map(Keepalive::new);
    let is_quiet = || !bells.iter().any(Bell::is_rung);
    std::future::poll_fn(|context| door.poll(context, || served.poll_round(&bells), is_quiet))
        .await;
}

struct Served<S, T> {
    connection: Connection<T, Bytes>,
    streams: FuturesUnordered<BoxFuture<'static, ()>>,
    keepalive: Option<Keepalive>,
    /// Until it has come.
    shutdown: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    peer: Option<SocketAddr>,
    xds: XdsServer<S>,
    services: Services,
}

impl<S: ProxySource, T: AsyncRead + AsyncWrite + Unpin> Served<S, T> {
    /// Streams first: what they say goes out with the write that follows.
    fn poll_round(&mut self, [streams, transport, care]: &[Bell; 3]) -> Poll<()> {
        if streams.poll(|context| self.poll_streams(context)).is_ready()
            || transport.poll(|context| self.poll_transport(context, streams)).is_ready()
        {
            return Poll::Ready(());
        }
        care.poll(|context| self.poll_care(context))
    }

    fn poll_streams(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Poll::Ready(Some(())) = self.streams.poll_next_unpin(context) {}
        Poll::Pending
    }

    /// Reads and writes; ready at the end of the connection.
    fn poll_transport(&mut self, context: &mut Context<'_>, streams: &Bell) -> Poll<()> {
        loop {
            match self.connection.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                    // Nothing else would call for its first poll.
                    streams.ring();
                }
                Poll::Ready(Some(Err(error))) => {
                    debug!(peer = ?self.peer, %error, "A connection broke");
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Notices the shutdown, and a peer that does not answer.
    fn poll_care(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(shutdown) = &mut self.shutdown
            && shutdown.as_mut().poll(context).is_ready()
        {
            self.shutdown = None;
            self.connection.graceful_shutdown();
        }
        let Some(keepalive) = &mut self.keepalive else { return Poll::Pending };
        let lost = keepalive.poll_lost(context);
        if lost.is_ready() {
            debug!(peer = ?self.peer, "A connection does not answer");
        }
        lost
    }

    fn begin(&self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let stream = match self.xds.open(request, respond, self.peer) {
            Ok(stream) => stream,
            Err(unserved) => {
                let (request, respond) = *unserved;
                self.services.answer(request, respond)
            }
        };
        self.streams.push(stream);
    }
}

/// Asks the peer now and then whether it is there.
struct Keepalive {
    pings: PingPong,
    alarm: Alarm,
    /// When to ask next, or while a question is open, until when to wait.
    next: Instant,
    is_asked: bool,
}

impl Keepalive {
    fn new(pings: PingPong) -> Self {
        let next = Instant::now() + PING_EVERY;
        Self { pings, alarm: Alarm::new(next), next, is_asked: false }
    }

    /// Ready when the peer did not answer.
    fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_asked && self.pings.poll_pong(context).is_ready() {
            self.is_asked = false;
            self.next = Instant::now() + PING_EVERY;
        }
        while self.alarm.until(self.next).poll(context).is_ready() {
            if Instant::now() < self.next {
                continue;
            }
            if self.is_asked {
                return Poll::Ready(());
            }
            // It fails only while another ping is open, or on a connection that is over.
            self.is_asked = self.pings.send_ping(Ping::opaque()).is_ok();
            let wait = if self.is_asked { PING_PATIENCE } else { PING_EVERY };
            self.next = Instant::now() + wait;
        }
        Poll::Pending
    }
}
