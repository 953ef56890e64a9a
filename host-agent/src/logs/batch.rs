//! Stage 4's product: records encoded as destinations take them, with the progress that their delivery means.
//!
//! Made by the pipeline from a run of entries; taken by an output. One batch has a message for each tag, because Forward's
//! messages have one tag each; it counts as delivered when all of its messages are.
//!
//! **Invariants**: entries are encoded once (MessagePack, `[EventTime, record]`), whatever is tried how often afterwards; the
//! place of each record in the bytes is known, so that a chunk that a peer refuses can be halved until the culprit is alone.

use std::sync::Arc;

use bytes::Bytes;

use crate::logs::entry::SourceId;
use crate::logs::position::SourcePosition;

/// Records of one tag.
#[derive(Debug, Clone)]
pub struct Message {
    /// The tag, such as `mesh.trading.orders`.
    pub tag: Arc<str>,
    /// `[EventTime, record]` after `[EventTime, record]`, in MessagePack.
    pub entries: Bytes,
    /// Where each record ends in `entries`; the last one is its length.
    pub ends: Vec<u32>,
}

/// A run of records, and what may be saved when all of them are delivered.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Counts up within a pipeline.
    pub number: u64,
    /// Its messages, at most one for each tag; none when rules dropped all it read.
    pub messages: Vec<Message>,
    /// How far each source that was read has come with it.
    pub progress: Vec<(SourceId, SourcePosition)>,
}
