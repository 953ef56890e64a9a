//! What a Nomad was measured to do, one test for each fact: with a real `nomad` where this machine has one, else with the
//! stand-in. Each prints which.
//!
//! | facts | are in |
//! |---|---|
//! | drivers × networks, what a task is told, where its files are | [`client`], [`bridge`], [`docker`], [`drivers`] |
//! | what Consul holds; Nomad's own services | [`consul`], [`services`] |
//! | the order of start and stop, signals, a sidecar that crashes | [`lifecycle`] |
//! | updates, canaries, what surprises people | [`updates`], [`traps`] |
//! | commands and their exit codes; a job that a real one took | [`commands`] |
//! | batches by HTTP | [`batch`] |
//! | an agent's own life: tokens, a kill, a drain | [`agent`] |
//!
//! Facts that only a real one can show, and why:
//!
//! | fact | why not here |
//! |---|---|
//! | what `exec` sees of its host (chroot_env, loaders) | the stand-in's tasks of all drivers see the host |
//! | `latest` is always pulled, `infra_image` | the stand-in pulls nothing: an image is a folder |
//! | without hairpin an allocation does not reach itself | the stand-in's bridge always has it |
//! | AWS_CA_BUNDLE keeps an agent from starting | nothing is fingerprinted |
//! | a purge of a live job waits in the client's queue for minutes | the stand-in has no garbage collector |
//! | `fmt -check` | the stand-in formats nothing |
//! | Docker's journald fields | Docker's, not Nomad's; the host agent's tests have them |
//! | lost calls by `shutdown_delay` | a matter of the whole mesh: the deploy tests measure it |
//!
//! Where 1.6.10 and 2.0.5 differ the stand-in is 2.0.5: `weights` in a service, `NOMAD_ALLOC_IP_x` in a bridge.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail where it stands"
)]

mod agent;
mod batch;
mod bridge;
mod client;
mod commands;
mod consul;
mod docker;
mod drivers;
mod lifecycle;
mod services;
mod support;
mod traps;
mod updates;
