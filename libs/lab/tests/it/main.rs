//! The lab's own parts, against a real Consul and a real Envoy.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod consul;
mod envoy;
mod load;
mod namespaces;
mod placer;

use std::time::Duration;

/// Within which everything on one machine must have happened.
const SOON: Duration = Duration::from_secs(20);
