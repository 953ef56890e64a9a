//! The application behind a System's gateway: it does for Envoy what Envoy cannot do by itself.
//!
//! ```text
//!                     ┌──────────────── gateway's Envoy ────────────────┐
//!  Router, Systems ──▶│ listeners: routes, tokens, limits                │──▶ services
//!                     │   │ "may this key pass?"   │ convert       ▲ egress
//!                     └───┼────────────────────────┼───────────────┼─────┘
//!                      authz ◀─ keys ◀─ Consul   transcode ────────┘
//!                                                  ▲ schema ◀─ reflection (through egress), descriptor files
//! ```
//!
//! [`authz`] decides who passes, [`keys`] knows the API keys, [`schema`] knows what gRPC services look like,
//! [`transcode`] speaks REST on one side and gRPC on the other, [`openapi`] describes that to people and their tools,
//! [`pages`] shows it to them.
//!
//! **Invariants**: it reads no System document: each request brings what its route says, written by Envoy; services are
//! reached through the gateway's own Envoy only; what cannot be decided is refused.

pub mod app;
pub mod cli;
pub mod config;
pub mod metrics;
pub mod server;

pub mod authz;
pub mod keys;
pub mod openapi;
pub mod pages;
pub mod routes;
pub mod schema;
pub mod transcode;
