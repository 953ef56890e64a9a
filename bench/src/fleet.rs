//! Thousands of simulated Envoys in one process, each with a connection of its own.
//!
//! In: nodes and a server's address. Out: a [`Board`] that tells what they saw. Called by the scenarios.
//!
//! **Invariants**: a proxy at rest costs its state and a socket, no buffer; what it holds outlives its connection,
//! so that a reconnect is one. A lost stream is counted and tried again.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::board::{Board, Progress};
use crate::http2::{Ended, GrpcStream};
use crate::proxy::{Mode, Proxy};

/// Bytes read from a socket at once, on the stack.
const READ: usize = 16 << 10;
/// Before a lost stream is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub struct Fleet {
    mode: Mode,
    proxies: Vec<Arc<Mutex<Proxy>>>,
    connections: JoinSet<()>,
    /// What they see.
    pub board: Arc<Board>,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the connection failed: {0}")]
    Socket(#[from] io::Error),
    #[error(transparent)]
    Stream(#[from] Ended),
    #[error(transparent)]
    Malformed(#[from] crate::wire::Malformed),
}

impl Fleet {
    /// Proxies with these encoded nodes; none is connected yet.
    pub fn new(mode: Mode, nodes: Vec<Arc<[u8]>>) -> Self {
        let board = Arc::new(Board::new(nodes.len()));
        let proxies = nodes.into_iter().map(|node| Arc::new(Mutex::new(Proxy::new(mode, node))));
        Self { mode, proxies: proxies.collect(), connections: JoinSet::new(), board }
    }

    /// How many proxies there are.
    pub fn size(&self) -> usize {
        self.proxies.len()
    }

    /// Connects every proxy: `per_second` begin each second, or all at once.
    pub async fn connect(&mut self, server: SocketAddr, per_second: Option<u32>) {
        let begin = tokio::time::Instant::now();
        for (index, proxy) in (0_u32..).zip(&self.proxies) {
            if let Some(rate) = per_second {
                let due = begin + Duration::from_secs(1) * index / rate;
                tokio::time::sleep_until(due).await;
            }
            let (proxy, board, mode) = (proxy.clone(), self.board.clone(), self.mode);
            self.connections.spawn(async move {
                loop {
                    let Err(lost) = serve(index as usize, &proxy, &board, mode, server).await;
                    board.lose(lost.to_string());
                    tokio::time::sleep(RETRY).await;
                }
            });
        }
    }

    /// Closes every connection; the proxies keep what they hold.
    pub async fn disconnect(&mut self) {
        self.connections.shutdown().await;
    }
}

/// One connection, until it is lost.
async fn serve(
    index: usize,
    proxy: &Mutex<Proxy>,
    board: &Board,
    mode: Mode,
    server: SocketAddr,
) -> Result<std::convert::Infallible, Lost> {
    let socket = TcpStream::connect(server).await?;
    socket.set_nodelay(true)?;
    let mut stream = GrpcStream::open(&server.to_string(), mode.path());
    for request in proxy.lock().unwrap_or_else(PoisonError::into_inner).begin() {
        stream.send(&request);
    }
    let mut progress = Progress::default();
    loop {
        write(&socket, &mut stream).await?;
        socket.readable().await?;
        read(index, &socket, &mut stream, proxy, board, &mut progress)?;
    }
}

async fn write(socket: &TcpStream, stream: &mut GrpcStream) -> Result<(), Lost> {
    while !stream.output().is_empty() {
        match socket.try_write(stream.output()) {
            Ok(count) => stream.sent(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads what is there; the buffer lives only here, so that waiting proxies have none.
fn read(
    index: usize,
    socket: &TcpStream,
    stream: &mut GrpcStream,
    proxy: &Mutex<Proxy>,
    board: &Board,
    progress: &mut Progress,
) -> Result<(), Lost> {
    let mut buffer = [0; READ];
    let count = match socket.try_read(&mut buffer) {
        Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    board.touched();
    let was_accepted = stream.is_accepted;
    let mut proxy = proxy.lock().unwrap_or_else(PoisonError::into_inner);
    let mut malformed = None;
    let mut take = |stream: &mut GrpcStream, message: &[u8]| {
        board.received(message.len());
        let mut requests = Vec::new();
        match proxy.take(message, &mut requests) {
            Ok(Some(digest)) => board.report(index, proxy.is_configured(), &digest, progress),
            Ok(None) => {}
            Err(error) => malformed = Some(error),
        }
        for request in requests {
            stream.send(&request);
        }
    };
    stream.receive(buffer.get(..count).unwrap_or_default(), &mut take)?;
    if stream.is_accepted && !was_accepted {
        board.accepted(index);
    }
    malformed.map_or(Ok(()), |error| Err(error.into()))
}
