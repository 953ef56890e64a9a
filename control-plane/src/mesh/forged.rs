//! Headers that those who call have no right to, by who they are. Out: what a route table removes.
//!
//! **Invariants**: a header is removed before the table's own rules write it.

use contract::conversion::CONVERT_HEADER;
use contract::gateway::{AUTH_HEADER, CONSUMER_HEADER};

use crate::mesh::{CALLER_SERVICE, CALLER_SYSTEM};

/// What clients may not say of themselves. How they proved who they are is told by filters, which take out what they say.
pub const FORGED_BY_CLIENTS: &[&str] = &[CALLER_SYSTEM, CALLER_SERVICE, CONVERT_HEADER];
/// What an application may not say of itself to its own System or another; its sidecar writes who it is.
pub const FORGED_BY_APPLICATIONS: &[&str] =
    &[CALLER_SYSTEM, CALLER_SERVICE, CONSUMER_HEADER, AUTH_HEADER, CONVERT_HEADER];
/// What another System may not say: only a gateway's own listener for the Router proves it.
pub const FORGED_BY_SYSTEMS: &[&str] = &[CONSUMER_HEADER, AUTH_HEADER, CONVERT_HEADER];
