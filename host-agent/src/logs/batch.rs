//! Stage 4: records encoded as destinations take them, gathered into batches with the progress that their delivery means.
//!
//! Made by the pipeline from a run of records ([`builder`]); taken by an output. One batch has a message for each tag,
//! because Forward's messages have one tag each; it counts as delivered when all of its messages are.
//!
//! **Invariants**: a record is encoded once (MessagePack, `[EventTime, record]`, [`encode`]), whatever is tried how often
//! afterwards; the place of each record in the bytes is known, so that a chunk that a peer refuses can be halved until the
//! culprit is alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::logs::position::{Positions, SourcePosition};

pub mod builder;
pub mod encode;

/// Records of one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The tag, such as `mesh.trading.orders`.
    pub tag: Arc<str>,
    /// `[EventTime, record]` after `[EventTime, record]`, in MessagePack.
    pub entries: Bytes,
    /// Where each record ends in `entries`; the last one is its length.
    pub ends: Vec<u32>,
}

/// A run of records, and what may be saved when all of them are delivered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Counts up within a pipeline, over restarts too.
    pub number: u64,
    /// Its messages, at most one for each tag; none when rules dropped all it read.
    pub messages: Vec<Message>,
    /// How far each source that was read has come with it.
    pub progress: Vec<Progress>,
    /// Records by writer (container, unit or file): what is counted as lost if the batch cannot be kept.
    pub writers: BTreeMap<Arc<str>, u32>,
    /// When its oldest record was written, nanoseconds since the epoch; `None` without records.
    pub oldest_ns: Option<u64>,
}

/// How far one source has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The source's lasting name, as in [`Positions`].
    pub source: Arc<str>,
    /// Its position; `None`: the source is gone and everything that it held is delivered.
    pub position: Option<SourcePosition>,
}

impl Batch {
    /// How many records it has.
    pub fn records(&self) -> u64 {
        self.messages.iter().map(|message| message.ends.len() as u64).sum()
    }

    /// Bytes of its records as they are encoded, before compression.
    pub fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.entries.len()).sum()
    }

    /// Stands for the batch that follows it too, as far as positions go: neither has messages, so both are settled together.
    pub fn absorb(&mut self, next: Self) {
        self.number = next.number;
        for one in next.progress {
            match self.progress.iter_mut().find(|own| own.source == one.source) {
                Some(own) => *own = one,
                None => self.progress.push(one),
            }
        }
    }
}

impl Positions {
    /// Takes a delivered batch's progress over.
    pub fn advance(&mut self, progress: Vec<Progress>) {
        for Progress { source, position } in progress {
            match position {
                Some(position) => self.sources.insert(source.to_string(), position),
                None => self.sources.remove(&*source),
            };
        }
    }
}
