//! One batch as bytes: a head in JSON (everything but the records), then for each message where its records end and the
//! records themselves.
//!
//! ```text
//! head's length (u32) · head · [ends (u32 each) · entries] for each message        all little-endian
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::logs::batch::{Batch, Message, Progress};
use crate::logs::position::SourcePosition;

#[derive(Serialize, Deserialize)]
struct Head {
    number: u64,
    progress: Vec<(Arc<str>, Option<SourcePosition>)>,
    writers: BTreeMap<Arc<str>, u32>,
    oldest_ns: Option<u64>,
    /// Tag, number of records, bytes of their entries.
    messages: Vec<(Arc<str>, usize, usize)>,
}

/// The batch as bytes.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let progress = batch.progress.iter().cloned();
    let head = Head {
        number: batch.number,
        progress: progress.map(|one| (one.source, one.position)).collect(),
        writers: batch.writers.clone(),
        oldest_ns: batch.oldest_ns,
        messages: batch
            .messages
            .iter()
            .map(|one| (Arc::clone(&one.tag), one.ends.len(), one.entries.len()))
            .collect(),
    };
    // Strings and numbers have a JSON form always.
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(head.len() + batch.bytes() + 64);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&head);
    for message in &batch.messages {
        bytes.extend(message.ends.iter().flat_map(|end| end.to_le_bytes()));
        bytes.extend_from_slice(&message.entries);
    }
    bytes
}

/// The batch again, or `None` when the bytes are not one. Its entries share the bytes.
pub(super) fn decode(bytes: &Bytes) -> Option<Batch> {
    let (head, mut rest) = split_head(bytes)?;
    let mut messages = Vec::with_capacity(head.messages.len());
    for (tag, records, size) in &head.messages {
        let ends_size = records.checked_mul(4)?;
        if rest.len() < ends_size.checked_add(*size)? {
            return None;
        }
        let ends = rest.split_to(ends_size);
        let ends = ends.chunks_exact(4).filter_map(|end| end.try_into().ok());
        let ends = ends.map(u32::from_le_bytes).collect();
        messages.push(Message { tag: Arc::clone(tag), ends, entries: rest.split_to(*size) });
    }
    Some(batch(head, messages))
}

/// The batch without its records.
pub(super) fn decode_head(bytes: &Bytes) -> Option<Batch> {
    split_head(bytes).map(|(head, _)| batch(head, Vec::new()))
}

fn split_head(bytes: &Bytes) -> Option<(Head, Bytes)> {
    let mut rest = bytes.clone();
    if rest.len() < 4 {
        return None;
    }
    let length = u32::from_le_bytes(rest.split_to(4).as_ref().try_into().ok()?) as usize;
    if rest.len() < length {
        return None;
    }
    let head = serde_json::from_slice(&rest.split_to(length)).ok()?;
    Some((head, rest))
}

fn batch(head: Head, messages: Vec<Message>) -> Batch {
    let progress = head.progress.into_iter();
    Batch {
        number: head.number,
        messages,
        progress: progress.map(|(source, position)| Progress { source, position }).collect(),
        writers: head.writers,
        oldest_ns: head.oldest_ns,
    }
}
