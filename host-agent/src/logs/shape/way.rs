//! The way of an entry through the stages: hold, join, build, rules.
//!
//! In: an entry that [`Shaper`] has scanned, or what has waited long enough. Out: records, drops; or it waits, and the shaper wakes
//! for it. Each step scans the entry that it goes on with, because the one before may have been another's.
//!
//! **Invariants**: what waits beyond its bounds goes on in the order of reading, the oldest first.

use std::collections::VecDeque;

use super::build::{self, LineOf, Seen};
use super::fields::Known;
use super::hold::Held;
use super::join::Joined;
use super::join::multiline::{self, Joining};
use super::join::partial;
use super::{Emit, Now, Shaped, Shaper, origins};
use crate::instances::Instances;
use crate::logs::entry::Entry;

/// Records that wait for their continuation at the most: each is a cursor in every position that is saved.
const MOST_OPEN: usize = 1_000;

/// A line on its way to a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) order: u64,
    pub(super) now: Now,
    /// It is known to continue an open record.
    pub(super) is_known: bool,
}

impl Shaper {
    /// Stage "hold": the entry waits for its names, or goes on.
    pub(super) fn accept(
        &mut self,
        entry: &Entry,
        now: Now,
        instances: &Instances,
        emit: &mut Emit<'_>,
    ) {
        self.order += 1;
        let order = self.order;
        if let Some(allocation) = self.scan.text(&entry.fields, Known::Allocation) {
            let wait_us = self.rules.limits.consul_wait_us;
            if self.hold.wants(allocation, entry, now, wait_us, instances) {
                let until = self.hold.keep(allocation, Held { entry: entry.clone(), order });
                self.wake(until);
                return;
            }
        }
        self.take(entry, Way { order, now, is_known: false }, instances, emit);
    }

    pub(super) fn release(
        &mut self,
        queue: VecDeque<Held>,
        now: Now,
        instances: &Instances,
        emit: &mut Emit<'_>,
    ) {
        for held in queue {
            self.scan(&held.entry);
            let way = Way { order: held.order, now, is_known: false };
            self.take(&held.entry, way, instances, emit);
        }
    }

    /// Stage "join", fragments: the entry waits for the rest of its line, or is a line.
    pub(super) fn take(
        &mut self,
        entry: &Entry,
        way: Way,
        instances: &Instances,
        emit: &mut Emit<'_>,
    ) {
        if self.scan.get(&entry.fields, Known::PartialId).is_none() {
            let line = LineOf { entry, message: None, joined: Joined::ONE };
            return self.next_line(line, way, instances, emit);
        }
        let limits = &self.rules.limits;
        let deadline = way.now.monotonic + limits.partial_timeout;
        match self.partials.add(entry, &self.scan, way.order, limits.message_bytes, deadline) {
            Some(open) => {
                self.scan(&open.first);
                let line = LineOf {
                    entry: &open.first,
                    message: Some(&open.message),
                    joined: open.joined,
                };
                self.next_line(line, Way { order: open.order, ..way }, instances, emit);
            }
            None => self.wake(Some(deadline)),
        }
    }

    /// A line whose last fragment did not come.
    pub(super) fn line(
        &mut self,
        open: partial::Open,
        now: Now,
        instances: &Instances,
        emit: &mut Emit<'_>,
    ) {
        self.scan(&open.first);
        let line = LineOf { entry: &open.first, message: Some(&open.message), joined: open.joined };
        self.next_line(line, Way { order: open.order, now, is_known: false }, instances, emit);
    }

    /// Stage "join", lines: the line waits for others, or is a record. The scan is of its entry.
    fn next_line(
        &mut self,
        line: LineOf<'_>,
        way: Way,
        instances: &Instances,
        emit: &mut Emit<'_>,
    ) {
        self.begin(line.entry, instances);
        let fields = &line.entry.fields;
        let form = self.rules.multiline(&self.record, fields).cloned();
        if form.is_none() && self.multilines.is_empty() {
            return self.finish(line, emit);
        }
        let stream = multiline::stream(line.entry, &self.scan);
        let text = line.message.or_else(|| self.scan.get(fields, Known::Message));
        let next = multiline::Next {
            entry: line.entry,
            text: text.unwrap_or_default(),
            joined: line.joined,
            order: way.order,
            now: way.now.monotonic,
            is_known: way.is_known,
        };
        let ended = match self.multilines.join(&stream, &next, self.rules.limits.message_bytes) {
            Joining::Joined => return,
            Joining::Ended(ended) => ended,
        };
        let mut goes_on = None;
        if let Some(ended) = ended {
            goes_on = ended.goes_on();
            self.record_of(&ended, instances, emit);
            self.scan(line.entry);
            self.begin(line.entry, instances);
        }
        let waits = form.and_then(|form| {
            let deadline = way.now.monotonic + form.timeout;
            self.multilines.begin(stream, &next, &form, goes_on).then_some(deadline)
        });
        match waits {
            Some(deadline) => self.wake(Some(deadline)),
            None => self.finish(line, emit),
        }
    }

    /// The record of lines that were joined.
    pub(super) fn record_of(
        &mut self,
        open: &multiline::Open,
        instances: &Instances,
        emit: &mut Emit<'_>,
    ) {
        self.scan(&open.first);
        self.begin(&open.first, instances);
        let message = Some(open.message.as_slice());
        self.finish(LineOf { entry: &open.first, message, joined: open.joined }, emit);
    }

    /// Begins the record with who wrote it; the scan is of the entry.
    fn begin(&mut self, entry: &Entry, instances: &Instances) {
        self.record.begin(entry.id, entry.source, build::time_ns(entry, &self.scan));
        origins::fill(&mut self.record, &self.scan, &entry.fields, instances);
    }

    /// Stages "build" and "rules": the record is complete, or dropped.
    fn finish(&mut self, line: LineOf<'_>, emit: &mut Emit<'_>) {
        self.marks.clear();
        let seen = Seen { scan: &self.scan, names: &self.names };
        build::fields(line, seen, &self.rules, &mut self.record, &mut self.marks);
        let fields = &line.entry.fields;
        match self.rules.apply(&mut self.record, fields, &mut self.marks) {
            Some(rule) => emit(Shaped::Dropped { rule, entries: line.joined.entries }),
            None => {
                build::marks(&self.rules, &mut self.record, &self.marks);
                emit(Shaped::Record(&self.record));
            }
        }
    }

    /// Sends the oldest of what waits before its time until the rest is within its bounds.
    pub(super) fn make_room(&mut self, now: Now, instances: &Instances, emit: &mut Emit<'_>) {
        while self.is_full() {
            let partial = self.partials.iter().map(|open| open.order).min();
            let multiline = self.multilines.iter().map(|open| open.order).min();
            let held = self.hold.iter().map(|held| held.order).min();
            let oldest = [partial, multiline, held].into_iter().flatten().min();
            if oldest == partial
                && let Some(open) = self.partials.oldest()
            {
                self.line(open, now, instances, emit);
            } else if oldest == multiline
                && let Some(open) = self.multilines.oldest()
            {
                self.record_of(&open, instances, emit);
            } else if let Some(queue) = self.hold.oldest(now.monotonic) {
                self.release(queue, now, instances, emit);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.open_bytes() > self.rules.limits.open_bytes
            || self.hold.is_full()
            || self.partials.len() + self.multilines.len() > MOST_OPEN
    }
}
