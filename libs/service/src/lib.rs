//! The process kit: what every long-running program of the mesh needs, in the order in which `main` meets it.
//!
//! [`config`], [`secret`], [`credentials`] and [`tls`] read what the operator wrote, [`logging`] says what happens, [`tasks`] and
//! [`shutdown`] run the parts and stop them in order, [`admin`] answers health checks and Prometheus, [`backoff`] and [`pace`] say how
//! often others are asked, and [`ErrorChain`] prints what went wrong.
//!
//! **Invariants**: nothing here knows Consul, Envoy or the mesh; no global state but the log subscriber.

pub mod admin;
pub mod backoff;
pub mod config;
pub mod credentials;
mod error_chain;
pub mod logging;
pub mod pace;
pub mod secret;
pub mod shutdown;
pub mod tasks;
pub mod tls;

pub use error_chain::ErrorChain;
