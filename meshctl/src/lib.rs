//! `meshctl`: what operators, Ansible and CI type.
//!
//! In: a command line ([`cli`]). Out: text on a [`console`], and an exit code ([`failure`]).
//!
//! | module | does |
//! |---|---|
//! | [`apply`] | System documents from files → checked, shown, written |
//! | [`history`] | `undo`, `delete system`, `get history` |
//! | [`change`] | a difference shown, agreed to, written with check-and-set |
//! | [`store`] | documents and their earlier versions in Consul's KV |
//! | [`keys`] | API keys in Consul's KV: made, listed, revoked, given an end |
//! | [`show`] | `get` and `explain`: tables and JSON |
//! | [`replicas`] | the control planes' API, all replicas at once |
//! | [`bootstrap`] | the Envoy bootstrap of one proxy |
//! | [`deploy`], [`promote`], [`rollback`], [`stop`], [`status`] | Nomad jobs, from a file to running and back |
//! | [`lint`] | what in Nomad jobs would lose requests or hide a service |
//! | [`run_envoy`], [`wait_envoy`], [`envoy_admin`] | an Envoy that drains before it ends, and one that is awaited |
//!
//! **Invariants**: everything that is printed for machines is deterministic; nothing here decides about routing,
//! and nothing but the control plane's API says what proxies have.

pub mod apply;
pub mod bootstrap;
pub mod change;
pub mod cli;
pub mod console;
pub mod deploy;
pub mod envoy_admin;
pub mod failure;
pub mod history;
pub mod keys;
pub mod lint;
pub mod promote;
pub mod replicas;
pub mod rollback;
pub mod run_envoy;
pub mod show;
pub mod status;
pub mod stop;
pub mod store;
pub mod wait_envoy;
