//! What the Forward output works with: parsed, bounded, secrets read.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use service::secret::Secret;

use super::Compression;
use crate::logs::deliver::config::LineFileConfig;

/// What the Forward output works with.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// At least one.
    pub servers: Vec<ServerConfig>,
    /// The handshake; `None`: there is none.
    pub credentials: Option<Credentials>,
    /// TLS; `None`: plain TCP.
    pub tls: Option<Arc<ClientConfig>>,
    /// How chunks are packed.
    pub compression: Compression,
    /// Whether chunks carry an id that the server must return.
    pub require_ack: bool,
    /// Time after which an acknowledgement is overdue.
    pub ack_timeout: Duration,
    /// Whether connections carry more than one message.
    pub keepalive: bool,
    /// Time for TCP, TLS and handshake together.
    pub connect_timeout: Duration,
    /// Pause between trials of a server that carries nothing.
    pub heartbeat: Duration,
    /// Longest pause after failures.
    pub backoff_max: Duration,
    /// Largest chunk, bytes before compression.
    pub chunk_bytes: usize,
    /// Window in bytes before compression.
    pub window_bytes: usize,
    /// Window in messages.
    pub window_messages: usize,
    /// Proven refusals that make a dead letter.
    pub refusals: u32,
    /// Where dead letters go.
    pub dead_letters: LineFileConfig,
}

/// What the handshake proves.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The key that both sides know.
    pub shared_key: Secret,
    /// User and password.
    pub user: Option<(String, Secret)>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Share among servers that are up; at least 1.
    pub weight: u32,
    /// Whether it serves only while no other is up.
    pub standby: bool,
    /// Name in its certificate.
    pub tls_server_name: String,
}

impl fmt::Display for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
