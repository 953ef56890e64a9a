//! A client for Consul's HTTP API, made for watching.
//!
//! In: a [`ConsulConfig`]. Out: typed [`Answer`]s, once ([`ConsulClient::read`]) or each time something may have
//! changed ([`Watch::next`]); the few writes that a registration or a document needs.
//! Used by the control plane's registry, by `meshctl` and by whatever registers instances.
//!
//! **Invariants**
//! - An index or a value is taken from a valid answer only; after a failure a watch asks anew, without an index.
//! - A watch never queues behind another: it has its own connection or HTTP/2 stream, or is refused.
//! - A token is never printed.
//!
//! Deliberately absent: the mesh, caches, retries of one-shot requests, Consul's `?cached` and hash-based blocking.
//! The process installs rustls' crypto provider; this crate chooses none.

mod agent;
mod catalog;
mod client;
mod config;
mod decode;
mod error;
mod health;
mod kv;
mod query;
mod session;
mod settings;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
mod watch;

pub use agent::{AgentIdentity, CheckDefinition, ServiceDefinition, TtlStatus};
pub use catalog::{CatalogNode, NodeService, NodeServices};
pub use client::ConsulClient;
pub use config::{ConfigError, Consistency, ConsulConfig, Limits};
pub use error::{ConsulError, ErrorClass};
pub use health::{Check, CheckState, EntryNode, EntryService, ServiceEntry, Weights};
pub use kv::KeyValue;
pub use query::{Answer, Query};
pub use service::backoff::Backoff;
pub use service::credentials::{ClientCertificate, Token};
pub use service::pace::Pace;
pub use settings::RawConsul;
pub use watch::Watch;
