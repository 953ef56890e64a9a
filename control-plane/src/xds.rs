//! Stages 4 and 5: what a proxy must know, as Envoy resources, and the streams that carry it.
//!
//! In: [`crate::mesh`]'s views. Out: xDS responses, delta and state of the world.
//! This is the only subtree that imports Envoy's protos and gRPC.
//!
//! **Invariants**: a resource is encoded once and its bytes are shared by every proxy; a version is the hash of the
//! bytes, so that replicas agree; a NACK is never answered with the same bytes.

pub mod build;
pub mod cache;
pub mod order;
pub mod resources;
pub mod server;
pub mod stream;
pub mod wire;
