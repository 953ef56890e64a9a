//! What every host of the mesh runs once: it takes logs, traces and exporters off the application teams' hands.
//!
//! ```text
//!  Docker, systemd ─▶ journald ─┐
//!  exec tasks ──────▶ files ────┴▶ logs ───▶ Fluentd
//!  applications, Envoys ─ spans ─▶ traces ─▶ OpenTelemetry back ends
//!  exporters, Envoys ◀─ scrape ── relay ◀─── Prometheus, which knows only hosts
//!                                   ▲
//!  Consul's agent ──▶ instances ────┴ (who is who on this host; also for logs and traces)
//! ```
//!
//! Each of the three parts runs without the others; a table of the configuration turns it on.
//!
//! **Invariants**: a part that fails or is flooded slows no other; nothing is believed delivered before the other side said so;
//! what is lost is counted with its cause; memory is bounded by configuration.

pub mod app;
pub mod cli;
pub mod config;
mod connections;
pub mod instances;
pub mod logs;
mod metrics;
pub mod relay;
pub mod segments;
pub mod tail;
pub mod traces;
