//! The discovery protocol's messages: requests as far as a server reads them, responses put together from bytes.
//!
//! In: gRPC messages from proxies, [`Response`]s from the stream. Out: [`Request`]s, bytes.
//! [`crate::xds::server`] is the only caller.
//!
//! **Invariants**: no resource is encoded here: a response is its head and the bytes that all proxies share;
//! `node` stays bytes, because Envoy repeats its long list of extensions in every request.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

use crate::xds::resources::{Encoded, ResourceType, Version};
use crate::xds::stream::{Answers, Mode, Names, Request, Response};

/// What both variants' requests have.
pub trait DiscoveryRequest: Message + Default + 'static {
    /// The variant.
    const MODE: Mode;
    /// The encoded `node`; empty when the proxy left it out.
    fn node(&self) -> &Bytes;
    /// The type URL.
    fn type_url(&self) -> &str;
    /// The normal form.
    fn into_request(self, kind: ResourceType) -> Request;
}

/// `envoy.service.discovery.v3.DeltaDiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct DeltaRequest {
    #[prost(bytes = "bytes", tag = "1")]
    node: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    type_url: Bytes,
    #[prost(string, repeated, tag = "3")]
    subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    unsubscribe: Vec<String>,
    #[prost(btree_map = "string, string", tag = "5")]
    initial: BTreeMap<String, String>,
    #[prost(bytes = "bytes", tag = "6")]
    nonce: Bytes,
    #[prost(message, optional, tag = "7")]
    error: Option<ErrorDetail>,
}

/// `envoy.service.discovery.v3.DiscoveryRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct SotwRequest {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(bytes = "bytes", tag = "2")]
    node: Bytes,
    #[prost(string, repeated, tag = "3")]
    names: Vec<String>,
    #[prost(bytes = "bytes", tag = "4")]
    type_url: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    nonce: Bytes,
    #[prost(message, optional, tag = "6")]
    error: Option<ErrorDetail>,
}

/// `google.rpc.Status`, as a NACK carries it.
#[derive(Clone, PartialEq, Message)]
struct ErrorDetail {
    #[prost(string, tag = "2")]
    message: String,
}

impl DiscoveryRequest for DeltaRequest {
    const MODE: Mode = Mode::Delta;

    fn node(&self) -> &Bytes {
        &self.node
    }

    fn type_url(&self) -> &str {
        text(&self.type_url)
    }

    fn into_request(self, kind: ResourceType) -> Request {
        Request {
            kind,
            answers: answers(&self.nonce),
            error: self.error.map(|error| error.message),
            names: Names::Change {
                subscribe: self.subscribe,
                unsubscribe: self.unsubscribe,
                initial: self.initial,
            },
        }
    }
}

impl DiscoveryRequest for SotwRequest {
    const MODE: Mode = Mode::Sotw;

    fn node(&self) -> &Bytes {
        &self.node
    }

    fn type_url(&self) -> &str {
        text(&self.type_url)
    }

    fn into_request(self, kind: ResourceType) -> Request {
        Request {
            kind,
            answers: answers(&self.nonce),
            error: self.error.map(|error| error.message),
            names: Names::Whole { names: self.names, version: self.version },
        }
    }
}

/// Read where it lies: most requests are ACKs, which have nothing else.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}

fn answers(nonce: &[u8]) -> Answers {
    let nonce = text(nonce);
    match (nonce, nonce.parse()) {
        ("", _) => Answers::Nothing,
        (_, Ok(nonce)) => Answers::Nonce(nonce),
        (_, Err(_)) => Answers::Foreign,
    }
}

/// A response as one gRPC message, its prefix included: a `DeltaDiscoveryResponse`, or with a version a
/// `DiscoveryResponse`. The allocation is exact: it lives until a slow proxy has read it.
pub fn encode(response: &Response) -> Bytes {
    let nonce = response.nonce.to_string();
    let type_url = response.kind.type_url();
    let head = field_len(type_url.len()) + field_len(nonce.len());
    match response.version {
        None => {
            let resources = response.resources.iter();
            let size: usize = resources.map(|content| field_len(resource_len(content))).sum();
            let removed = response.removed.iter();
            let removed_size: usize = removed.map(|name| field_len(name.len())).sum();
            let mut out = message(size + removed_size + head);
            for content in &response.resources {
                put_head(&mut out, 2, resource_len(content));
                put_field(&mut out, 1, content.version.to_string().as_bytes());
                put_field(&mut out, 2, &content.any);
                put_field(&mut out, 3, content.name.as_bytes());
            }
            put_field(&mut out, 4, type_url.as_bytes());
            put_field(&mut out, 5, nonce.as_bytes());
            for name in &response.removed {
                put_field(&mut out, 6, name.as_bytes());
            }
            out.freeze()
        }
        Some(version) => {
            let resources = response.resources.iter();
            let size: usize = resources.map(|content| field_len(content.any.len())).sum();
            let mut out = message(size + field_len(Version::LEN) + head);
            put_field(&mut out, 1, version.to_string().as_bytes());
            for content in &response.resources {
                put_field(&mut out, 2, &content.any);
            }
            put_field(&mut out, 4, type_url.as_bytes());
            put_field(&mut out, 5, nonce.as_bytes());
            out.freeze()
        }
    }
}

/// Bytes in front of a gRPC message: whether it is compressed, and its length.
pub const PREFIX_LEN: usize = 5;

/// Room for a gRPC message of this length, its prefix written.
fn message(length: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(PREFIX_LEN + length);
    out.put_u8(0);
    // A response is far below 4 GiB: what is larger than a chunk is sent in pieces.
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    out
}

fn resource_len(content: &Encoded) -> usize {
    field_len(Version::LEN) + field_len(content.any.len()) + field_len(content.name.len())
}

/// Bytes of a length-delimited field with a one-byte tag.
fn field_len(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

fn put_head(out: &mut BytesMut, tag: u8, length: usize) {
    out.put_u8(tag << 3 | 2);
    encode_varint(length as u64, out);
}

fn put_field(out: &mut BytesMut, tag: u8, value: &[u8]) {
    put_head(out, tag, value.len());
    out.put_slice(value);
}

#[cfg(test)]
mod tests;
