//! Stage 2: entries become records: joined, parsed, named, chosen, redacted, sampled.
//!
//! ```text
//!          hold               join                     build                                    rules
//!  Entry ─▶ allocation that ─▶ Docker's fragments, ───▶ text, JSON, level, names, fields, ──────▶ redact, set, sample, ─▶ Record
//!          Consul does not    then lines of a          marks of what was altered                 drop                  ▶ Dropped
//!          know yet           stack trace                                                                              ▶ Lost
//! ```
//!
//! Pure and synchronous: the clock and the instances are arguments. One [`Shaper`] belongs to one pipeline and is fed its
//! entries in order; [`Rules`] are immutable and are swapped when the configuration is read again.
//!
//! **Invariants**
//! - Every entry that is pushed is in exactly one record, or in one [`Shaped::Dropped`], or still open (see [`Shaper::open`]).
//! - What waits is bounded in number, bytes and time; what exceeds a bound is emitted as it is and says so in its marks.
//! - Nothing is flushed when the agent stops: what is open is read again, from [`Shaper::open`] on.
//! - The same entries, rules and instances give the same records, but for what a time limit cut.

mod build;
mod fields;
mod hold;
mod join;
mod json;
mod level;
mod losses;
mod origins;
pub mod rules;
mod text;

pub use rules::{RawRule, RawShape, Rules};

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::instances::Instances;
use crate::logs::entry::{Entry, SourceId};
use crate::logs::record::Record;
use build::{LineOf, Seen};
use fields::{Known, Names, Scan};
use hold::{Held, Hold};
use join::Joined;
use join::multiline::{self, Joining, Multilines};
use join::partial::{self, Partials};
use losses::Losses;
use text::Marks;

/// Records that wait for their continuation at the most: each is a cursor in every position that is saved.
const MOST_OPEN: usize = 1_000;

/// The time, as the caller's clocks tell it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For time limits.
    pub monotonic: Instant,
    /// Microseconds since the epoch, for the age of entries.
    pub realtime_us: u64,
}

/// What comes out of the shaper.
#[derive(Debug)]
pub enum Shaped<'s> {
    /// A record, whole; it is filled again for the next one.
    Record(&'s Record),
    /// A rule dropped a record, or did not sample it.
    Dropped {
        /// The rule's name.
        rule: &'s str,
        /// Entries that the record was made of.
        entries: u32,
    },
    /// Something was lost before the agent could read it. The entry that tells of it comes as a record too.
    Lost(Lost<'s>),
}

/// Lines that somebody wrote and that the journal never got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost<'s> {
    /// Who wrote them: a container's name or a unit, where that is known.
    pub writer: Option<&'s str>,
    /// How many.
    pub count: u64,
    /// How they were lost.
    pub reason: LossReason,
}

/// How lines were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LossReason {
    /// journald refused them: its rate limit of the unit (`Suppressed N messages`).
    RateLimit,
    /// Between Docker and the journal: a gap in the container's ordinals (Docker 24 and later).
    Docker,
}

impl LossReason {
    /// Its name as a label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::Docker => "docker",
        }
    }
}

/// The shaper of one pipeline.
#[derive(Debug)]
pub struct Shaper {
    rules: Arc<Rules>,
    names: Names,
    scan: Scan,
    hold: Hold,
    partials: Partials,
    multilines: Multilines,
    losses: Losses,
    record: Record,
    marks: Marks,
    /// Counts entries: the order of reading.
    order: u64,
    /// Nothing is due before; `None` when nothing waits.
    deadline: Option<Instant>,
}

/// A line on its way to a record.
#[derive(Debug, Clone, Copy)]
struct Way {
    order: u64,
    now: Now,
    /// It is known to continue an open record.
    is_known: bool,
}

type Emit<'e> = dyn FnMut(Shaped<'_>) + 'e;

impl Shaper {
    /// A shaper with nothing open.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            names: Names::default(),
            scan: Scan::default(),
            hold: Hold::default(),
            partials: Partials::default(),
            multilines: Multilines::default(),
            losses: Losses::default(),
            record: Record::default(),
            marks: Marks::default(),
            order: 0,
            deadline: None,
        }
    }

    /// Takes other rules from the next record on; what is open stays open.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
        self.names.clear();
    }

    /// Takes the next entry of its source.
    pub fn push(
        &mut self,
        entry: &Entry,
        now: Now,
        instances: &Instances,
        emit: &mut dyn FnMut(Shaped<'_>),
    ) {
        self.scan(entry);
        let count_ordinals = self.rules.count_ordinals;
        self.losses.see(&self.scan, &entry.fields, now.monotonic, count_ordinals, Some(emit));
        self.wake(self.losses.deadline());
        self.accept(entry, now, instances, emit);
        self.make_room(now, instances, emit);
    }

    /// Takes an entry that lies between the oldest open one and `through` of a saved position (see
    /// [`crate::logs::position`]). `begins`: its cursor is in the position's `open`. An entry that continues an open record
    /// joins it; all others were delivered and are passed over.
    pub fn replay(
        &mut self,
        entry: &Entry,
        begins: bool,
        now: Now,
        instances: &Instances,
        emit: &mut dyn FnMut(Shaped<'_>),
    ) {
        self.scan(entry);
        let count_ordinals = self.rules.count_ordinals;
        self.losses.see(&self.scan, &entry.fields, now.monotonic, count_ordinals, None);
        if begins {
            self.accept(entry, now, instances, emit);
            return self.make_room(now, instances, emit);
        }
        // Of a stream's lines after the first of its open record, none can have begun another: that would have ended it.
        let is_known = self.multilines.is_open(&multiline::stream(entry, &self.scan));
        if is_known || self.partials.continues(entry, &self.scan) {
            self.order += 1;
            self.take(entry, Way { order: self.order, now, is_known }, instances, emit);
            self.make_room(now, instances, emit);
        }
    }

    /// Emits what has waited long enough, and what waited for these instances. To be called at [`Self::next_deadline`] and
    /// when the instances change.
    pub fn expire(&mut self, now: Now, instances: &Instances, emit: &mut dyn FnMut(Shaped<'_>)) {
        while let Some(queue) = self.hold.ready(now.monotonic, instances) {
            self.release(queue, now, instances, emit);
        }
        while let Some(open) = self.partials.expired(now.monotonic) {
            self.line(open, now, instances, emit);
        }
        while let Some(open) = self.multilines.expired(now.monotonic) {
            self.record_of(&open, instances, emit);
        }
        self.losses.expire(now.monotonic, emit);
        self.deadline = self.partials.iter().map(|open| open.deadline).min();
        self.wake(self.multilines.iter().map(|open| open.deadline).min());
        self.wake(self.hold.deadline());
        self.wake(self.losses.deadline());
    }

    /// When something may have waited long enough: [`Self::expire`] is due then. It is cheap to ask.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The first entries of all that is open, with their sources and cursors, in the order of reading: what a position saves as
    /// `open`.
    pub fn open(&self) -> impl Iterator<Item = (SourceId, &str)> {
        let partials = self.partials.iter().map(|open| (open.order, &open.first));
        let multilines = self.multilines.iter().map(|open| (open.order, &open.first));
        let held = self.hold.iter().map(|held| (held.order, &held.entry));
        let mut open: Vec<(u64, &Entry)> = partials.chain(multilines).chain(held).collect();
        open.sort_unstable_by_key(|(order, _)| *order);
        open.into_iter().map(|(_, entry)| (entry.source, entry.cursor.as_str()))
    }

    /// Bytes of all that is open.
    pub fn open_bytes(&self) -> usize {
        self.partials.bytes() + self.multilines.bytes() + self.hold.bytes()
    }

    fn scan(&mut self, entry: &Entry) {
        self.scan.read(&entry.fields, &mut self.names, &self.rules.choice);
    }

    fn wake(&mut self, deadline: Option<Instant>) {
        self.deadline = match (self.deadline, deadline) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        };
    }

    /// Stage "hold": the entry waits for its names, or goes on.
    fn accept(&mut self, entry: &Entry, now: Now, instances: &Instances, emit: &mut Emit<'_>) {
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

    fn release(
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
    fn take(&mut self, entry: &Entry, way: Way, instances: &Instances, emit: &mut Emit<'_>) {
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
    fn line(&mut self, open: partial::Open, now: Now, instances: &Instances, emit: &mut Emit<'_>) {
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
    fn record_of(&mut self, open: &multiline::Open, instances: &Instances, emit: &mut Emit<'_>) {
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
    fn make_room(&mut self, now: Now, instances: &Instances, emit: &mut Emit<'_>) {
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
