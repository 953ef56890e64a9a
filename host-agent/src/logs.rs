//! Logs: what Docker's containers, systemd's units and Nomad's exec tasks write, delivered to the platform's log store.
//!
//! ```text
//!  1 read                 2 shape                  3 route             4 batch                  5 deliver
//!  journald ─┐
//!  files ────┴▶ Entry ───▶ Record ────────────────▶ tag, or not ──────▶ Batch ────────────────▶ Output ─▶ Fluentd, file, stdout
//!     ▲         raw bytes  joined, parsed, named,   of this            encoded once,            window of batches    │
//!     │                    redacted, sampled        destination        with its Progress        in flight            │
//!     └──────────────── reading goes on where Progress says ◀── saved ◀── all before it acknowledged ◀───────────────┘
//! ```
//!
//! **Each destination is a pipeline of its own**: it reads the journal and the files with its own position, at its own pace.
//! journald is the queue that they share, so a destination that is slow or dead holds up nobody, and there is no buffer to lose.
//! Only when journald is about to delete what a destination has not delivered is it copied into that destination's spool.
//!
//! Stages 1 to 4 run on one thread for each destination (sd-journal is not for several); they are synchronous, and their
//! clock is an argument. Stage 5 is asynchronous. Between them is a bounded channel: a full one stops the reading.
//!
//! **Invariants**
//! - A position moves only past what was acknowledged, dead-lettered, dropped by rule, or counted as lost.
//! - The same entries, rules and instances give the same records; sampling is by record id. So two destinations agree,
//!   and a record that is sent again has the same [`entry::RecordId`].
//! - After kill -9 nothing is lost, and what is sent again is at most the window of batches in flight.
//! - Nothing is silently altered: what a stage changed, it says in the record's marks.
//!
//! **Absent**: searching, storing, metrics from logs; parsing of formats other than JSON.

pub mod batch;
pub mod config;
pub mod deliver;
pub mod entry;
pub mod pipeline;
pub mod position;
pub mod read;
pub mod record;
pub mod route;
pub mod shape;
pub mod spool;
pub mod store;
pub mod supervise;
pub mod test_rules;
