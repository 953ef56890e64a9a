//! REST on one side, gRPC on the other.
//!
//! In: an HTTP request and the [`Api`] that it may be for. Out: the gRPC call, and its answer as JSON.

mod api;
mod error;
mod routes;
mod rule;
mod template;

pub use api::{Api, Binding, Body, FieldPath};
pub use error::{ApiError, ApiProblem};
pub use routes::{Found, NotFound};
pub use template::{PathTemplate, Segment, TemplateError, Variable};
