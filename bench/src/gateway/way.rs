//! The ways that a request to convert can take, and what is asked on each.

use std::net::SocketAddr;

use bytes::Bytes;
use contract::conversion::CONVERT_HEADER;
use http::Method;
use serde_json::json;

use super::envoy::{CONVERSION, Ports};
use super::load::Ask;
use crate::echo;

/// Who converts, and whether an Envoy stands before and behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// The application between two passes through Envoy, as in a mesh.
    Ours,
    /// Envoy's filter.
    Transcoder,
    /// grpc-gateway between two passes through Envoy.
    GrpcGateway,
    /// The application alone.
    OursAlone,
    /// grpc-gateway alone.
    GrpcGatewayAlone,
}

impl Way {
    /// Its name in tables: a peer alone is compared with ours alone.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ours | Self::OursAlone => "ayatori",
            Self::Transcoder => "envoy transcoder",
            Self::GrpcGateway | Self::GrpcGatewayAlone => "grpc-gateway",
        }
    }

    /// Whether no Envoy takes part.
    pub(super) const fn is_alone(self) -> bool {
        matches!(self, Self::OursAlone | Self::GrpcGatewayAlone)
    }

    /// Whether it needs Go.
    pub(super) const fn needs_go(self) -> bool {
        matches!(self, Self::GrpcGateway | Self::GrpcGatewayAlone)
    }

    fn ask(self, ports: &Ports, alone: Alone, method: Method, path: &str, body: Bytes) -> Ask {
        let port = match self {
            Self::Ours => ports.ours,
            Self::Transcoder => ports.transcoder,
            Self::GrpcGateway => ports.peer,
            Self::OursAlone => alone.app,
            Self::GrpcGatewayAlone => alone.peer_app,
        };
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if self == Self::OursAlone {
            headers.push((CONVERT_HEADER.to_owned(), CONVERSION.to_owned()));
        }
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Ask { address, method, path: path.to_owned(), headers, body }
    }

    /// A message of this payload, which is answered as it is.
    pub(super) fn say(self, ports: &Ports, alone: Alone, payload: usize) -> Ask {
        let message = echo::message(7, payload);
        let body = json!({
            "id": message.id, "sequence": message.sequence.to_string(), "price": message.price,
            "tags": message.tags, "payload": message.payload,
        });
        self.ask(ports, alone, Method::POST, "/v1/messages", body.to_string().into())
    }

    /// A stream of so many messages.
    pub(super) fn count(self, ports: &Ports, alone: Alone, count: u32) -> Ask {
        self.ask(ports, alone, Method::GET, &format!("/v1/messages/{count}"), Bytes::new())
    }
}

/// Ports of converters that call the service without an Envoy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Alone {
    /// The application.
    pub app: u16,
    /// grpc-gateway.
    pub peer_app: u16,
}
