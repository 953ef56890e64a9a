//! What the three sample applications share: their flags, their log line, and how they stop.
//!
//! An application in the mesh needs nothing of this to be one. It listens on a port, calls others through the
//! address that it is given, and logs to stdout; `src/bin/` shows what that looks like.
//! Deliberately absent: any knowledge of the mesh, of Consul, or of where other services run.

use std::net::SocketAddr;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

pub mod reflection;

/// Generated from `proto/quotes/v1/quotes.proto`.
pub mod quotes {
    #![expect(
        unused_qualifications,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated code"
    )]
    tonic::include_proto!("quotes.v1");

    /// The encoded file descriptor set, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

/// The flags of every sample; each may come from the environment instead, as a Nomad job would set it.
#[derive(Debug, Clone, clap::Parser)]
pub struct Flags {
    /// Where to listen: loopback, because only the sidecar calls.
    #[arg(long, env = "LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The sidecar's egress: the way to every other service.
    #[arg(long, env = "EGRESS", default_value = "http://127.0.0.1:15001")]
    pub egress: String,
    /// Who answers; part of every answer.
    #[arg(long, env = "INSTANCE", default_value = "local")]
    pub instance: String,
}

/// Resolves when the process is told to stop; requests in flight are then finished.
pub async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Logs each request as one line of JSON when its answer begins.
pub async fn log_request(request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let id =
        request.headers().get("x-request-id").and_then(|id| id.to_str().ok().map(str::to_owned));
    let answer = next.run(request).await;
    let millis = begin.elapsed().as_secs_f64() * 1000.0;
    log(&json!({
        "method": method.as_str(), "path": path, "status": answer.status().as_u16(),
        "ms": (millis * 1000.0).round() / 1000.0, "request_id": id,
    }));
    answer
}

/// Writes one line to stdout, which is where an application of the mesh logs.
#[expect(clippy::print_stdout, reason = "stdout is the log")]
pub fn log(line: &serde_json::Value) {
    println!("{line}");
}
