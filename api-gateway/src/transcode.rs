//! REST on one side, gRPC on the other.
//!
//! In: an HTTP request, the [`Api`]s that it may be for, the service. Out: the gRPC call, and its answer as JSON.
//!
//! ```text
//!        api, binding, template, rule        bind ◀─ decode ◀─ strict           upstream
//!  schema ──▶ bindings ─▶ routes ──▶ call ── body, path, query ─▶ message ──▶ gRPC ──▶ service
//!                                     ▲                                        │
//!  client ◀── JSON, NDJSON, events ── answer ◀─ encode ◀─ messages ◀───────────┘
//! ```
//!
//! `serde_json` reads and writes JSON, `prost-reflect` messages, h2 and tonic gRPC's frames.
//!
//! **Invariants**: what a client sends is refused or passed on, never left out; nothing that it sends makes a header
//! that gRPC, Envoy or the mesh reserves; memory for a call is bounded by its [`Limits`]; an error is a
//! `google.rpc.Status` that says what to do. **Absent**: where schemas come from (`crate::schema`), authentication,
//! routes, retries: Envoy has them.

mod answer;
mod api;
mod bind;
mod binding;
mod body;
mod call;
mod connection;
mod decode;
mod encode;
mod error;
mod metadata;
mod options;
mod refusal;
mod routes;
mod rule;
mod strict;
mod template;
mod text;
mod upstream;

pub use answer::{AnswerBody, BrokenAnswer};
pub use api::Api;
pub use bind::{Parts, message as bind};
pub use binding::{Binding, Body, FieldPath};
pub use call::call;
pub use decode::{JsonError, message as from_json};
pub use encode::json as to_json;
pub use error::{ApiError, ApiProblem};
pub use options::{JsonOptions, Limits, Options};
pub use refusal::Refusal;
pub use routes::{Found, NotFound};
pub use template::{PathTemplate, Segment, TemplateError, Variable};
pub use upstream::{Egress, Upstream};
