//! The xDS server over real gRPC, with Envoy's own messages and generated client.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod abuse;
mod envoy;
mod harness;
mod life;
mod messages;
mod streams;
