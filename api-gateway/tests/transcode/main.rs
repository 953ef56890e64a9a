//! REST ↔ gRPC against a real gRPC service, and the JSON mapping against Google's runtime.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod bindings;
mod calls;
mod canonical;
mod connection;
mod errors;
mod gateway;
mod schema;
mod service;
mod streams;
