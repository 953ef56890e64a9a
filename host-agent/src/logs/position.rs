//! How far a destination has come: what is saved, and where reading begins again.
//!
//! A source is read in order, but records end out of order: while a container's long line waits for its last fragment, others'
//! lines are complete and sent. So a position says two things of each source: every entry up to `through` has been
//! read, and all that they said is delivered, except the records that were still open, whose first entries are in `open`.
//!
//! After a restart reading begins at the oldest open entry, and up to `through` only what belongs to open records counts:
//! an entry of `open` begins its record, one that continues it joins it, all others were delivered and are passed over. Without
//! this, everything that was sent while the oldest record waited would be sent again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Of one source. Cursors are opaque here: the reader that made them understands them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// The last entry that was read.
    pub through: String,
    /// Cursors of the first entries of records that were not complete then, in the order of reading.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
}

/// Of all sources of a destination, by the source's lasting name (`journal`, `journal:NAMESPACE`, `file:…`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Positions {
    /// Source → how far it was delivered.
    pub sources: BTreeMap<String, SourcePosition>,
}
