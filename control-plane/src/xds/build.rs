//! Stage 4: mesh words → encoded Envoy resources, one file for each xDS type.
//!
//! In: [`crate::mesh`]'s clusters, endpoints, listeners and route tables. Out: [`Encoded`] bytes.
//!
//! **Invariants**: pure and deterministic: no protobuf map with more than one entry is built from envoy-types' hash
//! maps (the access log's format and routes' filter settings have ordered messages for that reason); no deprecated field;
//! everything that Envoy needs is set explicitly, so that a resource means the same in every Envoy version.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::google::protobuf;
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};

use crate::xds::resources::{Encoded, ResourceName, ResourceType, Version};

pub mod access_log;
pub mod cluster;
pub mod endpoint;
mod filters;
pub mod grpc;
pub mod http;
pub mod listener;
pub mod route;
pub mod tls;
mod tracing;

/// Whom resources are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    /// Envoy.
    Envoy,
    /// A gRPC library that reads xDS itself.
    Grpc,
}

/// Encodes a resource and takes its version from the bytes.
fn encode<M: Message + Name>(
    kind: ResourceType,
    name: ResourceName,
    message: &M,
    clusters: Arc<[ResourceName]>,
) -> Arc<Encoded> {
    Arc::new(encoded(kind, name, &pack(message), clusters))
}

fn encoded(
    kind: ResourceType,
    name: ResourceName,
    any: &Any,
    clusters: Arc<[ResourceName]>,
) -> Encoded {
    let any: Bytes = any.encode_to_vec().into();
    let requirements = BTreeSet::new();
    Encoded { kind, name, version: Version::of(&any), any, clusters, requirements }
}

fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

const fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

const fn yes() -> Option<protobuf::BoolValue> {
    Some(protobuf::BoolValue { value: true })
}

const fn no() -> Option<protobuf::BoolValue> {
    Some(protobuf::BoolValue { value: false })
}
