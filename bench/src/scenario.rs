//! What is measured: one file each. In: a [`crate::stage::Setup`] and a contender. Out: figures.

pub mod cold;
pub mod document;
pub mod envoy;
pub mod event;
pub mod memory;
pub mod storm;
