//! Tests of `meshctl` through its command line: real Envoy and real Consul where a command's outcome is theirs.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and a skipped test says so"
)]

mod apply;
mod bootstrap;
mod deploy;
mod docs;
mod keys;
mod lint;
mod run_envoy;
mod show;
mod support;
