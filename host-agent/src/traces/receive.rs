//! Stage 1: takes spans in every form in which applications and Envoys send them, and answers when they are queued.
//!
//! ```text
//!  connection ─▶ which protocol? ─▶ body, within limits ─▶ decompressed, within limits ─▶ OTLP's bytes ─▶ Accept ─▶ answer
//!                                   ▲ each chunk takes from the sender's share of the memory
//! ```
//!
//! Every address answers every protocol, by path: OTLP by gRPC, `POST /v1/traces` in Protocol Buffers and JSON, Zipkin's
//! `POST /api/v2/spans` in JSON and Protocol Buffers; gzip and zstd. gRPC is framed here and not by a library, because the
//! message is needed as bytes and its size must be limited while it is decompressed.
//!
//! **Invariants**: 2xx and `OK` only for what is queued; memory for requests under way is bounded and shared fairly by sender;
//! a request that dawdles, lies about its size or inflates without end costs only itself.
//! **Absent**: TLS: senders are on this host, or sidecars of it.

mod answer;
mod body;
mod decompress;
mod json;
mod protocol;
mod server;
pub mod zipkin;

pub use answer::Refusal;
pub use protocol::Protocol;
pub use server::Receiver;

use std::time::Duration;

use bytes::Bytes;

use super::sender::Sender;
use super::shape::Reject;

/// What a request may take.
#[derive(Debug, Clone, Copy)]
pub struct ReceiveLimits {
    /// Bytes of a body as it comes.
    pub request_bytes: usize,
    /// Bytes of a message after decompression.
    pub message_bytes: usize,
    /// Bytes of all requests under way.
    pub in_flight_bytes: u64,
    /// How long a request may take to arrive.
    pub deadline: Duration,
    /// Connections at a time.
    pub connections: usize,
}

/// A request whose body is here.
#[derive(Debug, Clone)]
pub struct Request {
    /// How it came.
    pub protocol: Protocol,
    /// Who sent it, as far as that is known without its spans.
    pub sender: Sender,
    /// An `ExportTraceServiceRequest`.
    pub message: Bytes,
}

/// What was read of a form that is not OTLP's bytes, and how many spans could not be.
#[derive(Debug, PartialEq, Eq)]
pub struct Converted {
    /// An `ExportTraceServiceRequest`.
    pub message: Vec<u8>,
    /// Spans that are none.
    pub malformed: u32,
}

/// What was done with a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Spans that were refused.
    pub rejected: u32,
    /// Why, for people; empty when none was.
    pub message: String,
}

impl Accepted {
    /// Adds spans that were refused for a reason.
    pub fn reject(&mut self, reason: Reject, spans: u32) {
        if spans == 0 {
            return;
        }
        self.rejected += spans;
        self.message += if self.message.is_empty() { "spans were rejected: " } else { ", " };
        self.message += &format!("{}: {spans}", reason.word());
    }
}
