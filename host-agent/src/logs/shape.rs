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
mod way;

pub use rules::{RawRule, RawShape, Rules};

use std::sync::Arc;
use std::time::Instant;

use crate::instances::Instances;
use crate::logs::entry::{Entry, SourceId};
use crate::logs::record::Record;
use fields::{Names, Scan};
use hold::Hold;
use join::multiline::{self, Multilines};
use join::partial::Partials;
use losses::Losses;
use text::Marks;
use way::Way;

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
}
