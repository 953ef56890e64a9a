//! The agent's parts against the real other side.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail where it stands"
)]

mod deliver;
mod docs;
mod instances;
mod pipeline;
mod read;
mod relay;
mod shape;
mod traces;
