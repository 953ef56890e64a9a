//! What gRPC services look like, and what they look like now.
//!
//! In: server reflection, descriptor files. Out: compiled [`crate::transcode::Api`]s, the newest first.
//!
//! ```text
//!  reflection ─┐ files      owner              snapshot
//!              ├──────▶ compile, versions ──▶ Schemas::apis(x-mesh-convert) ──▶ transcode, openapi, pages
//!  file       ─┘                              one asks, all wait
//! ```
//!
//! During a rolling update instances of two versions answer behind one name, so a conversion has several versions of its
//! schema alive at a time ([`versions`](Entry::versions)), and requests are tried with the newest first.
//!
//! **Invariants**: one task owns all versions; what it publishes never changes; a service that is away, or says something
//! that cannot be used, never takes a schema away.

mod descriptors;
mod error;
mod file;
mod handle;
mod known;
mod owner;
mod reflection;
mod snapshot;
mod source;
mod versions;

pub use descriptors::{Fingerprint, Limits};
pub use error::{Fault, SchemaError};
pub use file::DescriptorFolder;
pub use handle::{Pace, Schemas};
pub use owner::Owner;
pub use reflection::Reflection;
pub use snapshot::{Apis, Counts, Entry, Snapshot, Status, VersionStatus};
pub use source::Sources;
pub use versions::Version;
