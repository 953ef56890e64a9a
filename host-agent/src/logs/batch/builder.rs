//! Gathers records into a batch until it is full or old enough.
//!
//! In: records with their tags. Out: a [`Batch`] when the pipeline seals it. Owned by one pipeline's thread.
//!
//! **Invariants**: memory is bounded by [`Limits`] and one record; a batch without records is still one, because what was
//! dropped by rule moves positions too. **Absent**: the clock; the pipeline decides when a batch is old enough.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rmp::encode::ByteBuf;

use super::{Batch, Message, Progress, encode};
use crate::logs::record::Record;

/// The writer of records that say none.
pub const UNKNOWN: &str = "unknown";

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Encoded bytes.
    pub bytes: usize,
    /// Records.
    pub records: usize,
}

/// A batch that is being filled.
#[derive(Debug)]
pub struct BatchBuilder {
    limits: Limits,
    tags: BTreeMap<Arc<str>, Open>,
    writers: BTreeMap<Arc<str>, u32>,
    bytes: usize,
    records: usize,
    oldest_ns: Option<u64>,
}

#[derive(Debug, Default)]
struct Open {
    entries: ByteBuf,
    ends: Vec<u32>,
}

impl BatchBuilder {
    /// Nothing gathered yet.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            tags: BTreeMap::new(),
            writers: BTreeMap::new(),
            bytes: 0,
            records: 0,
            oldest_ns: None,
        }
    }

    /// Adds a record.
    pub fn push(&mut self, tag: &str, record: &Record) {
        let open = match self.tags.get_mut(tag) {
            Some(open) => open,
            None => self.tags.entry(Arc::from(tag)).or_default(),
        };
        let before = open.entries.as_vec().len();
        encode::record(&mut open.entries, record);
        let after = open.entries.as_vec().len();
        open.ends.push(u32::try_from(after).unwrap_or(u32::MAX));
        self.bytes = self.bytes.saturating_add(after - before);
        self.records = self.records.saturating_add(1);
        self.oldest_ns =
            Some(self.oldest_ns.map_or(record.time_ns, |oldest| oldest.min(record.time_ns)));
        let writer = record.writer().unwrap_or(UNKNOWN);
        match self.writers.get_mut(writer) {
            Some(count) => *count = count.saturating_add(1),
            None => drop(self.writers.insert(Arc::from(writer), 1)),
        }
    }

    /// Whether it takes no more.
    pub const fn is_full(&self) -> bool {
        self.bytes >= self.limits.bytes || self.records >= self.limits.records
    }

    /// Whether there is no record in it.
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Closes the batch and begins the next one.
    pub fn seal(&mut self, number: u64, progress: Vec<Progress>) -> Batch {
        let messages = std::mem::take(&mut self.tags).into_iter().map(|(tag, open)| Message {
            tag,
            entries: Bytes::from(open.entries.into_vec()),
            ends: open.ends,
        });
        let batch = Batch {
            number,
            messages: messages.collect(),
            progress,
            writers: std::mem::take(&mut self.writers),
            oldest_ns: self.oldest_ns.take(),
        };
        (self.bytes, self.records) = (0, 0);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::entry::{RecordId, SourceId};
    use crate::logs::record::Origin;

    fn record(number: u64, writer: &str) -> Record {
        let mut record = Record::default();
        record.begin(RecordId { sequence: 1, number }, SourceId(0), 1_000 - number);
        record.name("message");
        record.text("line");
        record.set_origin(Origin::Container, writer);
        record
    }

    #[test]
    fn a_batch_has_a_message_for_each_tag_and_knows_where_each_record_ends() {
        let mut builder = BatchBuilder::new(Limits { bytes: 1 << 20, records: 3 });
        builder.push("quotes", &record(1, "b"));
        builder.push("orders", &record(2, "a"));
        assert!(!builder.is_full());
        builder.push("quotes", &record(3, "b"));
        assert!(builder.is_full());
        let batch = builder.seal(7, Vec::new());
        let shape: Vec<_> = batch
            .messages
            .iter()
            .map(|one| (&*one.tag, one.ends.len(), one.entries.len()))
            .collect();
        let one = batch.messages[0].entries.len();
        assert_eq!(shape, [("orders", 1, one), ("quotes", 2, 2 * one)]);
        let end = u32::try_from(one).unwrap();
        assert_eq!(batch.messages[1].ends, [end, 2 * end]);
        assert_eq!((batch.number, batch.records(), batch.bytes()), (7, 3, 3 * one));
        assert_eq!(batch.writers, BTreeMap::from([(Arc::from("a"), 1), (Arc::from("b"), 2)]));
        assert_eq!(batch.oldest_ns, Some(997));
        assert_eq!(builder.seal(8, Vec::new()), Batch { number: 8, ..Batch::default() });
    }
}
