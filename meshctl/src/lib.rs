//! `meshctl`: what operators, Ansible and CI type.
//!
//! In: a command line ([`cli`]). Out: text on standard output, complaints on standard error, an exit code ([`failure`]).
//!
//! | module | command |
//! |---|---|
//! | [`bootstrap`] | renders the Envoy bootstrap of a proxy |
//!
//! **Invariants**: everything that is printed for machines is deterministic; nothing here decides about routing,
//! and nothing but the control plane's API says what proxies have.

pub mod bootstrap;
pub mod cli;
pub mod failure;
