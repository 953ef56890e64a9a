//! A connection to a server: TCP, and TLS over it where configured.
//!
//! In: the server's address. Out: a stream. The kernel is told to notice a peer that is gone: by keepalive probes while nothing
//! is sent, and by the time that sent bytes may stay unacknowledged.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::logs::deliver::config::ServerConfig;

/// Either kind of stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error(
        "TLS failed: check ca_file, the name in the server's certificate, and whether its port speaks TLS"
    )]
    Tls(#[source] io::Error),
    #[error("{0:?} is no name that a certificate can carry: set tls_server_name")]
    Name(String),
}

/// How long things may take on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Between probes of an idle connection.
    pub(super) heartbeat: Duration,
    /// For bytes that the peer's kernel does not acknowledge.
    pub(super) unacknowledged: Duration,
}

/// Connects; whoever awaits this sets a limit.
pub(super) async fn connect(
    server: &ServerConfig,
    tls: Option<Arc<ClientConfig>>,
    patience: Patience,
) -> Result<Box<dyn Stream>, TransportError> {
    let connected = TcpStream::connect((server.host.as_str(), server.port)).await;
    let tcp = connected.and_then(|tcp| {
        tune(&tcp, patience)?;
        Ok(tcp)
    });
    let tcp = tcp.map_err(TransportError::Connect)?;
    let Some(tls) = tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(server.tls_server_name.clone())
        .map_err(|_| TransportError::Name(server.tls_server_name.clone()))?;
    let stream = TlsConnector::from(tls).connect(name, tcp).await.map_err(TransportError::Tls)?;
    Ok(Box::new(stream))
}

fn tune(tcp: &TcpStream, patience: Patience) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let probes =
        TcpKeepalive::new().with_time(patience.heartbeat).with_interval(patience.heartbeat);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(patience.unacknowledged))
}
