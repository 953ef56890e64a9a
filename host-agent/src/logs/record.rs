//! Stage 2's product: one log record as it will be sent, whatever it was made of.
//!
//! Made by `shape/`; `route/` reads its origin, `batch/` encodes it.

use std::sync::Arc;

use crate::logs::entry::{RecordId, SourceId};

/// A field's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text; always valid UTF-8, because one invalid byte makes some receivers refuse a chunk for ever.
    Text(String),
    /// A number.
    Integer(i64),
    /// What a line that was JSON held.
    Json(serde_json::Value),
    /// The values of a field that came several times.
    List(Vec<Value>),
}

/// Who wrote it. What is not known is absent, never guessed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The System, from the registration of its allocation.
    pub system: Option<Arc<str>>,
    /// The service, from the same; else the Nomad task, the container, or the unit.
    pub service: Option<Arc<str>>,
    /// What losses are counted by: the container, the unit or the file.
    pub writer: Option<Arc<str>>,
}

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The name of its first entry.
    pub id: RecordId,
    /// Where it came from.
    pub source: SourceId,
    /// When it was written, nanoseconds since the epoch.
    pub time_ns: u64,
    /// Who wrote it.
    pub origin: Arc<Origin>,
    /// Its fields, in the order in which they are sent.
    pub fields: Vec<(Arc<str>, Value)>,
}
