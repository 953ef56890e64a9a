//! The control plane.

pub mod catalog;
pub mod mesh;
pub mod registry;
pub mod xds;
