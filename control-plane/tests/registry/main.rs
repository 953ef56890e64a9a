//! The registry against a real Consul with a large catalogue, over HTTPS and over plain HTTP with Consul's own limits.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::panic, reason = "a test that cannot go on fails")]
#![expect(clippy::indexing_slicing, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "figures are part of a test's output")]

mod catalogue;
mod restart;
mod scale;
mod world;
