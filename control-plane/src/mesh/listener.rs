//! A listener of a proxy in the mesh's words: where it binds, who connects, what carries the requests.
//!
//! Built by `listeners.rs`, encoded by the xDS stage.

use std::net::SocketAddr;
use std::sync::Arc;

use contract::name::ServiceName;
use contract::node::CertificateFiles;
use contract::registration::Protocol;

use crate::mesh::{Checkpoint, Origin, Target};

/// A listener of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// Where it binds.
    pub address: SocketAddr,
    /// What it does.
    pub kind: ListenerKind,
    /// Where it comes from.
    pub origin: Origin,
    /// Whether spans of its requests go to the host's agent.
    pub is_traced: bool,
}

/// What a listener does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerKind {
    /// Everything goes to the application on this loopback port.
    Inbound {
        /// The service it fronts.
        service: ServiceName,
        /// What the application speaks.
        protocol: Protocol,
    },
    /// HTTP, routed by the table of this name.
    Routed {
        /// The route table's name.
        table: String,
        /// Who connects here.
        faces: Faces,
        /// What carries the requests.
        transport: Transport,
        /// What is checked of what comes from the Router.
        checkpoint: Option<Arc<Checkpoint>>,
    },
    /// Sends clients to the same address over HTTPS, at this port.
    ToHttps(u16),
    /// Bytes to a target.
    Tcp {
        /// Where they go.
        target: Target,
    },
}

/// Who connects to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faces {
    /// The application beside the proxy.
    Application,
    /// Other proxies.
    Proxies,
    /// Clients outside.
    Clients {
        /// How many proxies before this one are trusted to name the client.
        trusted_hops: u32,
    },
}

/// What carries the requests of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Plain,
    /// TLS over TCP.
    Tls {
        /// The certificates to choose from.
        certificates: Vec<CertificateFiles>,
        /// The UDP port at which HTTP/3 is spoken, which clients are told of.
        http3: Option<u16>,
    },
    /// QUIC.
    Quic {
        /// The certificates to choose from.
        certificates: Vec<CertificateFiles>,
    },
}

impl Transport {
    /// The UDP port of HTTP/3 that clients are told of.
    pub const fn advertised(&self) -> Option<u16> {
        match self {
            Self::Tls { http3, .. } => *http3,
            Self::Plain | Self::Quic { .. } => None,
        }
    }
}
