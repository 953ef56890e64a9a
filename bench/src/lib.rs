//! Measures an xDS control plane with thousands of simulated Envoys and a real Consul, the API gateway, and the host-agent's logs.
//!
//! In: a scenario and its size. Out: figures. `fleet` is the program; `docs/benchmarks.md` says how to read them.
//!
//! | module | is |
//! |---|---|
//! | [`wire`], [`http2`], [`node`], [`proxy`] | one simulated Envoy, without IO |
//! | [`fleet`], [`board`] | all of them, and what they see |
//! | [`consul`], [`contender`], [`usage`] | the real parts, and what they cost |
//! | [`stage`], [`scenario`], [`plan`] | what is measured |
//! | [`gateway`], [`echo`] | the API gateway, and the service behind it |
//! | [`logs`] | the host-agent's logs |
//! | [`traces`] | spans through the host's agent |
//! | [`relay`] | the host agent's relay of metrics |
//! | [`figures`] | what came out |
//!
//! **Invariants**: everything that is started ends with the run; no figure comes from the server itself.

pub mod board;
pub mod consul;
pub mod contender;
pub mod echo;
pub mod figures;
pub mod fleet;
pub mod gateway;
pub mod http2;
pub mod logs;
pub mod node;
pub mod plan;
pub mod proxy;
pub mod relay;
pub mod scenario;
pub mod stage;
pub mod traces;
pub mod usage;
pub mod wire;
