//! Jobs for Nomad whose programs are this checkout's: what the tests and the demo deploy.
//!
//! They are jobs/service.nomad.hcl and jobs/gateway.nomad.hcl on one host, by `raw_exec` and without network namespaces.

/// A service's job, `orders`. Under another name it is another service's: every `orders` in it is replaced.
pub const SERVICE: &str = include_str!("../jobs/service.nomad.hcl");

/// A gateway's job, `trading-gateway`.
pub const GATEWAY: &str = include_str!("../jobs/gateway.nomad.hcl");
