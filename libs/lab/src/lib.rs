//! A whole mesh on one machine: a real Consul, real Envoys, control planes, and sample pairs placed as Nomad would.
//!
//! In: the binaries ([`parts`]). Out: a [`world::World`] that `meshctl demo` shows and that the end-to-end tests
//! harm and measure. Modules in reading order:
//!
//! | module | is |
//! |---|---|
//! | [`parts`] | which binaries |
//! | [`process`], [`ports`], [`folder`], [`netns`], [`wait`], [`http`] | child processes, ports, folders, namespaces, awaiting states, one request |
//! | [`daemon`] | a program that is harmed and started again, and what it offers |
//! | [`consul`], [`control_plane`], [`envoy`], [`host_agent`], [`balancer`] | one running part each |
//! | [`journald`], [`dockerd`] | the journal's daemon and Docker's, in a namespace of their own |
//! | [`collector`] | a tracing back end that remembers what it got |
//! | [`nomad`] | a Nomad agent: a real one, else the stand-in |
//! | [`registry`], [`placer`] | registrations, and instances that come and go |
//! | [`world`] | all of it together |
//! | [`load`] | requests on a fixed schedule |
//! | [`forward_peer`], [`forward_receiver`] | servers of Fluentd's Forward protocol: an independent one, and a thin one that counts |
//! | [`fault_proxy`] | TCP that delays, throttles, swallows and breaks |
//! | [`debian`] | a Debian with systemd, booted |
//! | [`demo`] | the story that `make demo` tells |
//!
//! **Invariants**: everything started is killed with its owner; what it wrote goes too, unless a test failed; ports are the kernel's choice, the Router's apart;
//! no fixed sleep stands for a state. Deliberately absent: fakes, and any knowledge of the control plane's inside.

pub mod balancer;
pub mod collector;
pub mod consul;
pub mod control_plane;
pub mod daemon;
pub mod debian;
pub mod demo;
pub mod dockerd;
pub mod envoy;
mod error;
pub mod fault_proxy;
pub mod folder;
pub mod forward_peer;
pub mod forward_receiver;
pub mod host_agent;
pub mod http;
pub mod jobs;
pub mod journald;
pub mod load;
pub mod netns;
pub mod nomad;
pub mod parts;
pub mod placer;
pub mod ports;
pub mod process;
pub mod registry;
pub mod wait;
pub mod world;

pub use error::{LabError, chain};
