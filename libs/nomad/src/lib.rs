//! A client for Nomad's HTTP API, for what deploys jobs and for what watches services.
//!
//! In: a [`NomadConfig`]. Out: typed [`Answer`]s to a [`Query`], asked once ([`NomadClient::read`]), when something
//! has changed since an index ([`NomadClient::poll`]), or again and again ([`Watch::next`]); and the writes of a deploy: register with check-and-set, promote,
//! fail, revert, stop, drain.
//!
//! **Invariants**
//! - Nothing but a watch asks twice: only the caller knows whether a request may be repeated.
//! - An answer is believed only with status 200, an index of at least 1 and a server that knows its leader.
//! - A token is never printed.
//!
//! Deliberately absent: HCL (Nomad parses it, [`NomadClient::parse`]), the event stream (a blocking query cannot lose an
//! event), and of each answer what nobody here reads. A job is kept as the JSON that it is ([`Job`]): a client that reads
//! it into fields of its own would drop those that it does not know when it submits it again.
//! The process installs rustls' crypto provider; this crate chooses none.

mod allocations;
mod client;
mod config;
mod decode;
mod deployments;
mod error;
mod evaluations;
mod jobs;
mod logs;
mod nodes;
mod plan;
mod query;
mod services;
mod settings;
mod variables;
mod watch;

pub use allocations::{Allocation, AllocationHealth, CheckResult, TaskEvent, TaskState};
pub use client::NomadClient;
pub use config::{ConfigError, NomadConfig};
pub use deployments::{Deployment, GroupDeployment};
pub use error::NomadError;
pub use evaluations::{Evaluation, PlacementFailure};
pub use jobs::{Dispatch, GroupSummary, Job, JobSummary, Registered, Registration};
pub use logs::{LogOrigin, LogRequest, LogStream};
pub use nodes::{Drain, Node};
pub use plan::{Diff, FieldDiff, GroupDiff, ObjectDiff, Plan, TaskDiff, UpdateCounts};
pub use query::{Answer, Query};
pub use service::credentials::{ClientCertificate, Token};
pub use services::{ServiceInstance, ServiceListing, ServiceStub};
pub use settings::RawNomad;
pub use variables::{Variable, VariableStub};
pub use watch::{Watch, Watching};
