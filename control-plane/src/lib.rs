//! The control plane.

pub mod catalog;
pub mod registry;
pub mod xds;
