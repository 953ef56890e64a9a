//! The built programs with a real Envoy and a real Consul, one whole mesh for each test.
//!
//! | module | shows |
//! |---|---|
//! | [`smoke`] | requests along every path: delta, state of the world, without Consul, between network namespaces |
//! | [`moves`] | instances come and go under load |
//! | [`registrations`] | what registrations say, good and bad |
//! | [`documents`] | what System documents say, good and bad |
//! | [`faults`] | what breaks, and that traffic does not notice |
//! | [`gateway`] | what a gateway does for its clients |
//! | [`jobs`] | the command lines of `jobs/` make instances |
//! | [`judges`] | what clients that are not ours say of the control plane |
//! | [`nomad`] | a mesh without Consul |
//! | [`replicas`] | two control planes are as good as one |
//! | [`tracks`] | old and new instances change places under load |
//! | [`upgrades`] | parts of the platform are replaced under load |
//!
//! [`scene`] starts a mesh and asks it. A test without its real part prints `SKIP` and fails when `E2E_REQUIRE` names
//! the part. What a failed test leaves is named at its end.
#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod documents;
mod faults;
mod gateway;
mod jobs;
mod judges;
mod moves;
mod nomad;
mod on_demand;
mod registrations;
mod replicas;
mod scene;
mod shown;
mod smoke;
mod tracks;
mod upgrades;

use std::time::Duration;

/// Within which a change must be everywhere on one machine, also while other tests keep it busy.
const SOON: Duration = Duration::from_secs(20);
