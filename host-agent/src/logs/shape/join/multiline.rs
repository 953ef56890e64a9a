//! Lines of one record, as the rules' [`Multiline`] sees them.
//!
//! One record at most is open for each writer and stream: a line that does not continue it ends it. Time between lines is
//! taken from the entries, so that reading old entries joins the same lines as reading them live did; the clock only ends
//! what no line follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{Joined, Remarks};
use crate::logs::entry::Entry;
use crate::logs::shape::fields::{Known, Scan};
use crate::logs::shape::rules::{Multiline, State};

/// Records that wait for lines.
#[derive(Debug, Default)]
pub(in crate::logs::shape) struct Multilines {
    open: BTreeMap<Stream, Box<Open>>,
    bytes: usize,
}

/// Who writes lines that follow each other.
pub(in crate::logs::shape) type Stream = Box<[u8]>;

/// A record that waits.
#[derive(Debug)]
pub(in crate::logs::shape) struct Open {
    /// Its first entry.
    pub(in crate::logs::shape) first: Entry,
    /// Its place in the order of reading.
    pub(in crate::logs::shape) order: u64,
    pub(in crate::logs::shape) message: Vec<u8>,
    pub(in crate::logs::shape) joined: Joined,
    pub(in crate::logs::shape) deadline: Instant,
    form: Arc<Multiline>,
    state: State,
    lines: u32,
    last_us: u64,
}

/// A line to be joined.
#[derive(Debug, Clone, Copy)]
pub(in crate::logs::shape) struct Next<'l> {
    pub(in crate::logs::shape) entry: &'l Entry,
    pub(in crate::logs::shape) text: &'l [u8],
    pub(in crate::logs::shape) joined: Joined,
    pub(in crate::logs::shape) order: u64,
    pub(in crate::logs::shape) now: Instant,
    /// It is known to continue the open record: it did so before the restart.
    pub(in crate::logs::shape) is_known: bool,
}

/// What came of joining a line.
#[derive(Debug)]
pub(in crate::logs::shape) enum Joining {
    /// It belongs to the open record.
    Joined,
    /// It does not, and ended the open record, if there was one.
    Ended(Option<Box<Open>>),
}

/// The stream of an entry: source, container, unit or allocation, process and stream within it.
pub(in crate::logs::shape) fn stream(entry: &Entry, scan: &Scan) -> Stream {
    let fields = &entry.fields;
    let mut stream = entry.source.0.to_be_bytes().to_vec();
    let parts: &[Known] = match scan.get(fields, Known::ContainerId) {
        // Docker tells stdout and stderr apart by the priority.
        Some(_) => &[Known::ContainerId, Known::Priority],
        None => &[
            Known::Allocation,
            Known::Task,
            Known::Stream,
            Known::SystemdUnit,
            Known::Pid,
            Known::Identifier,
            Known::Transport,
        ],
    };
    for part in parts {
        stream.extend_from_slice(scan.get(fields, *part).unwrap_or_default());
        stream.push(0);
    }
    stream.into()
}

impl Multilines {
    pub(in crate::logs::shape) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(in crate::logs::shape) fn is_open(&self, stream: &Stream) -> bool {
        self.open.contains_key(stream)
    }

    /// Joins a line to the open record of its stream, or takes that record out because the line does not belong to it.
    pub(in crate::logs::shape) fn join(
        &mut self,
        stream: &Stream,
        next: &Next<'_>,
        most_bytes: usize,
    ) -> Joining {
        let Some(open) = self.open.get_mut(stream) else { return Joining::Ended(None) };
        match open.join(next, most_bytes) {
            true => {
                self.bytes += next.text.len() + 1;
                Joining::Joined
            }
            false => Joining::Ended(self.take(stream)),
        }
    }

    /// Begins a record, if other lines may follow; else it is complete. `after`: the state of the record that became too long
    /// just before it.
    pub(in crate::logs::shape) fn begin(
        &mut self,
        stream: Stream,
        next: &Next<'_>,
        form: &Arc<Multiline>,
        after: Option<State>,
    ) -> bool {
        let state = after.unwrap_or_else(|| form.begin(next.text));
        if !form.may_go_on(state) {
            return false;
        }
        let mut joined = next.joined;
        if after.is_some() {
            joined.remarks.add(Remarks::CONTINUED);
        }
        self.bytes += next.entry.fields.size() + next.text.len();
        let open = Open {
            first: next.entry.clone(),
            order: next.order,
            message: next.text.to_vec(),
            joined,
            deadline: next.now + form.timeout,
            form: form.clone(),
            state,
            lines: 1,
            last_us: next.entry.realtime_us,
        };
        self.open.insert(stream, Box::new(open));
        true
    }

    /// Takes the next record whose time is over.
    pub(in crate::logs::shape) fn expired(&mut self, now: Instant) -> Option<Box<Open>> {
        let due = self.open.iter().filter(|(_, open)| open.deadline <= now);
        let stream = due.min_by_key(|(_, open)| open.order).map(|(stream, _)| stream.clone())?;
        self.take(&stream)
    }

    /// Takes the record that waits longest.
    pub(in crate::logs::shape) fn oldest(&mut self) -> Option<Box<Open>> {
        let stream = self.open.iter().min_by_key(|(_, open)| open.order)?.0.clone();
        let mut open = self.take(&stream)?;
        open.joined.remarks.add(Remarks::EARLY);
        Some(open)
    }

    fn take(&mut self, stream: &Stream) -> Option<Box<Open>> {
        let open = self.open.remove(stream)?;
        self.bytes -= open.first.fields.size() + open.message.len();
        Some(open)
    }

    pub(in crate::logs::shape) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.open.values().map(AsRef::as_ref)
    }

    pub(in crate::logs::shape) fn len(&self) -> usize {
        self.open.len()
    }

    pub(in crate::logs::shape) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Open {
    /// The state in which the record after this one goes on, when this one was split.
    pub(in crate::logs::shape) fn goes_on(&self) -> Option<State> {
        self.joined.remarks.has(Remarks::SPLIT).then_some(self.state)
    }

    fn join(&mut self, next: &Next<'_>, most_bytes: usize) -> bool {
        let gap_us = u128::from(next.entry.realtime_us.saturating_sub(self.last_us));
        if !next.is_known && gap_us > self.form.timeout.as_micros() {
            return false;
        }
        let state = match self.form.go_on(self.state, next.text) {
            Some(state) => state,
            None if next.is_known => self.state,
            None => return false,
        };
        let is_full = self.lines >= self.form.max_lines
            || self.message.len() + 1 + next.text.len() > most_bytes;
        if is_full {
            self.state = state;
            self.joined.remarks.add(Remarks::SPLIT);
            return false;
        }
        self.state = state;
        self.lines += 1;
        self.last_us = next.entry.realtime_us;
        self.deadline = next.now + self.form.timeout;
        self.message.push(b'\n');
        self.message.extend_from_slice(next.text);
        self.joined.add(next.joined);
        true
    }
}
