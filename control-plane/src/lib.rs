//! The control plane.

pub mod registry;
pub mod xds;
