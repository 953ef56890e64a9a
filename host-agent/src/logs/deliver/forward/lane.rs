//! The shell of one connection: sockets and timers around [`Connection`].
//!
//! In: chunks, through a channel that is closed when the connection is to end. Out: [`Report`]s, the last of which is
//! [`Report::Closed`], always. Reading and writing go on beside each other, so a server that acknowledges while it is sent to is
//! heard at once.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{timeout, timeout_at};

use super::connection::{Connection, Event, Overdue, ProtocolError};
use super::dispatcher::{Closing, LaneId};
use super::frame::{self, Frame};
use super::handshake::{Handshake, Salt};
use super::transport::{self, Patience, Stream, TransportError};
use super::window::{Chunk, ChunkId};
use crate::logs::deliver::config::{Compression, ForwardConfig, ServerConfig};
use crate::logs::deliver::metrics::ServerMetrics;

/// Chunks below this are packed on the spot: it takes less time than to hand them over.
const PACKED_HERE: usize = 32 * 1024;
/// How long a broken connection is read for acknowledgements that are still underway.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long a connection has to close.
const FAREWELL: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 4096;

/// What a lane tells.
#[derive(Debug)]
pub(super) enum Report {
    /// Chunks may come.
    Ready { lane: LaneId, keepalive: bool },
    /// A chunk was acknowledged; without acknowledgements: was written.
    Acked { lane: LaneId, chunk: ChunkId },
    /// The end.
    Closed { lane: LaneId, closing: Closing, why: Option<LaneError> },
}

/// Why a connection ended unwanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum LaneError {
    #[error("the connection cannot be made")]
    Transport(#[from] TransportError),
    #[error("no connection within {0:?}, handshake included")]
    Slow(Duration),
    #[error("the server does not follow the protocol")]
    Protocol(#[from] ProtocolError),
    #[error("the server closed the connection")]
    Eof,
    #[error("reading failed")]
    Read(#[source] io::Error),
    #[error("writing failed")]
    Write(#[source] io::Error),
    #[error("the server took no byte for {0:?}")]
    Stalled(Duration),
    #[error("the server acknowledged nothing for {0:?}")]
    Silent(Duration),
    #[error(
        "the server acknowledged later chunks, but not this one for {0:?}: it may be too large for it"
    )]
    PassedOver(Duration),
    #[error("the chunk cannot be packed")]
    Pack(#[source] io::Error),
}

/// What a lane is made from.
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) server: ServerConfig,
    pub(super) config: std::sync::Arc<ForwardConfig>,
    pub(super) host: std::sync::Arc<str>,
    pub(super) salt: Salt,
    pub(super) metrics: ServerMetrics,
    pub(super) reports: mpsc::Sender<Report>,
}

/// Shared by reading, writing and watching.
struct Shared {
    connection: Mutex<Connection>,
    /// A deadline may have changed.
    changed: Notify,
}

impl Shared {
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Lane {
    /// Connects, sends what comes, reports, until the channel is closed or the connection is of no more use.
    pub(super) async fn run(self, mut chunks: mpsc::Receiver<Chunk>) {
        let lane = self.id;
        let (closing, why) = match self.open().await {
            Err(error) => (Closing::Unreachable, Some(error)),
            Ok((stream, connection, keepalive)) => {
                self.report(Report::Ready { lane, keepalive }).await;
                match self.serve(stream, connection, &mut chunks).await {
                    Ok(()) => (Closing::Wanted, None),
                    Err((closing, error)) => (closing, Some(error)),
                }
            }
        };
        self.report(Report::Closed { lane, closing, why }).await;
    }

    /// Nobody listens only when the whole output ends.
    async fn report(&self, report: Report) {
        self.reports.send(report).await.ok();
    }

    async fn open(&self) -> Result<(Box<dyn Stream>, Connection, bool), LaneError> {
        let limit = self.config.connect_timeout;
        let deadline = tokio::time::Instant::now() + limit;
        let slow = |_| LaneError::Slow(limit);
        let patience =
            Patience { heartbeat: self.config.heartbeat, unacknowledged: self.config.ack_timeout };
        let stream = transport::connect(&self.server, self.config.tls.clone(), patience);
        let mut stream = timeout_at(deadline, stream).await.map_err(slow)??;
        let handshake = self.config.credentials.clone();
        let handshake = handshake.map(|it| Handshake::new(it, self.host.clone(), self.salt));
        let (mut connection, mut event) = Connection::new(handshake, self.config.ack_timeout);
        let shaken = async {
            let mut bytes = BytesMut::with_capacity(READ_BYTES);
            loop {
                if let Some(Event::Ready { keepalive }) = event {
                    return Ok::<bool, LaneError>(keepalive);
                }
                let mut events = Vec::new();
                read(&mut stream, &mut bytes).await?;
                connection.received(&bytes, now(), &mut events)?;
                for next in events {
                    match next {
                        Event::Send(bytes) => {
                            stream.write_all(&bytes).await.map_err(LaneError::Write)?;
                            stream.flush().await.map_err(LaneError::Write)?;
                        }
                        next => event = Some(next),
                    }
                }
            }
        };
        let keepalive = timeout_at(deadline, shaken).await.map_err(slow)??;
        Ok((stream, connection, keepalive))
    }

    async fn serve(
        &self,
        stream: Box<dyn Stream>,
        connection: Connection,
        chunks: &mut mpsc::Receiver<Chunk>,
    ) -> Result<(), (Closing, LaneError)> {
        let shared = Shared { connection: Mutex::new(connection), changed: Notify::new() };
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut reading = std::pin::pin!(self.listen(&mut reader, &shared));
        let ended = tokio::select! {
            // What was acknowledged must be known before the connection is given up.
            biased;
            error = &mut reading => Err((Closing::Broken, error)),
            overdue = self.watch(&shared) => Err(self.overdue(overdue)),
            written = self.write(&mut writer, &shared, chunks) => match written {
                Ok(()) => Ok(()),
                Err(error) => {
                    timeout(LAST_WORDS, &mut reading).await.ok();
                    Err((Closing::Broken, error))
                }
            },
        };
        if ended.is_ok() {
            // A peer that does not take the farewell has nothing of ours in flight.
            timeout(FAREWELL, writer.shutdown()).await.ok();
        }
        ended
    }

    fn overdue(&self, Overdue { chunk, is_passed_over }: Overdue) -> (Closing, LaneError) {
        let waited = self.config.ack_timeout;
        let error = match is_passed_over {
            true => LaneError::PassedOver(waited),
            false => LaneError::Silent(waited),
        };
        (Closing::Overdue { chunk, is_passed_over }, error)
    }

    /// Reads acknowledgements until the connection ends.
    async fn listen(&self, reader: &mut ReadHalf<Box<dyn Stream>>, shared: &Shared) -> LaneError {
        let lane = self.id;
        let mut bytes = BytesMut::with_capacity(READ_BYTES);
        loop {
            if let Err(error) = read(reader, &mut bytes).await {
                return error;
            }
            let mut events = Vec::new();
            let received = shared.connection().received(&bytes, now(), &mut events);
            for event in events {
                match event {
                    Event::Acked(chunk) => {
                        self.metrics.acks.inc();
                        self.report(Report::Acked { lane, chunk }).await;
                    }
                    Event::UnknownAck => {
                        self.metrics.unknown_acks.inc();
                    }
                    Event::Send(_) | Event::Ready { .. } => {}
                }
            }
            shared.changed.notify_one();
            if let Err(error) = received {
                return error.into();
            }
        }
    }

    /// Waits until an acknowledgement is overdue.
    async fn watch(&self, shared: &Shared) -> Overdue {
        loop {
            let deadline = shared.connection().deadline();
            match deadline {
                None => shared.changed.notified().await,
                Some(deadline) => {
                    timeout_at(deadline.into(), shared.changed.notified()).await.ok();
                }
            }
            let overdue = shared.connection().overdue(now());
            if let Some(overdue) = overdue {
                return overdue;
            }
        }
    }

    /// Writes chunks until there are no more.
    async fn write(
        &self,
        writer: &mut WriteHalf<Box<dyn Stream>>,
        shared: &Shared,
        chunks: &mut mpsc::Receiver<Chunk>,
    ) -> Result<(), LaneError> {
        let lane = self.id;
        while let Some(chunk) = chunks.recv().await {
            let frame = self.pack(&chunk).await?;
            let wire = frame.len();
            if self.config.require_ack {
                shared.connection().sending(&chunk);
            }
            for part in [frame.head, frame.entries, frame.options] {
                self.write_part(writer, part).await?;
            }
            timeout(self.config.ack_timeout, writer.flush())
                .await
                .map_err(|_| LaneError::Stalled(self.config.ack_timeout))?
                .map_err(LaneError::Write)?;
            self.count(&chunk, wire);
            if self.config.require_ack {
                shared.connection().sent(chunk.id, now());
                shared.changed.notify_one();
            } else {
                self.report(Report::Acked { lane, chunk: chunk.id }).await;
            }
        }
        Ok(())
    }

    async fn write_part(
        &self,
        writer: &mut (impl AsyncWrite + Unpin),
        mut part: bytes::Bytes,
    ) -> Result<(), LaneError> {
        let limit = self.config.ack_timeout;
        while part.has_remaining() {
            let written = timeout(limit, writer.write_buf(&mut part)).await;
            let count =
                written.map_err(|_| LaneError::Stalled(limit))?.map_err(LaneError::Write)?;
            if count == 0 {
                return Err(LaneError::Write(io::ErrorKind::WriteZero.into()));
            }
        }
        Ok(())
    }

    async fn pack(&self, chunk: &Chunk) -> Result<Frame, LaneError> {
        let (compression, is_acked) = (self.config.compression, self.config.require_ack);
        if compression == Compression::None || chunk.entries.len() < PACKED_HERE {
            return frame::pack(chunk, compression, is_acked).map_err(LaneError::Pack);
        }
        let chunk = chunk.clone();
        let packed =
            tokio::task::spawn_blocking(move || frame::pack(&chunk, compression, is_acked)).await;
        packed.map_err(io::Error::other).and_then(|packed| packed).map_err(LaneError::Pack)
    }

    fn count(&self, chunk: &Chunk, wire: usize) {
        self.metrics.sent.inc_by(chunk.records.into());
        if chunk.is_resent {
            self.metrics.resent.inc_by(chunk.records.into());
        }
        self.metrics.raw_bytes.inc_by(chunk.entries.len() as u64);
        self.metrics.wire_bytes.inc_by(wire as u64);
    }
}

/// Reads what is there, in place of what was read before.
async fn read(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    bytes: &mut BytesMut,
) -> Result<(), LaneError> {
    bytes.clear();
    match reader.read_buf(bytes).await.map_err(LaneError::Read)? {
        0 => Err(LaneError::Eof),
        _ => Ok(()),
    }
}
