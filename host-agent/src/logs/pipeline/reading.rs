//! Stages 1 to 4 in one place: entries are read, shaped, routed and encoded until a batch is worth sending.
//!
//! In: a [`Source`], rules, routes, the instances. Out: batches whose numbers follow one another. Runs on the pipeline's
//! thread and never waits, except in [`Reading::wait`].
//!
//! **A batch is sealed** when it is full; else, when everything there is was read, at once after a quiet moment and otherwise
//! [`Pace::linger`] after the one before; else when its first record has waited for [`Pace::longest`]. One without records
//! moves positions over what rules dropped, once a second.
//!
//! **Invariants**: everything read so far and not open is in the batch that is sealed, so its progress is true.

use std::sync::Arc;
use std::time::{Duration, Instant};

use service::ErrorChain;
use tokio::sync::watch;
use tracing::warn;

use super::marks::Marks;
use super::metrics::PipelineMetrics;
use super::source::Source;
use crate::instances::Instances;
use crate::logs::batch::Batch;
use crate::logs::batch::builder::{BatchBuilder, Limits};
use crate::logs::entry::{Entry, SourceId};
use crate::logs::position::{Positions, SourcePosition};
use crate::logs::read::Step;
use crate::logs::route::{DestinationId, Routes};
use crate::logs::shape::{Now, Rules, Shaped, Shaper};

/// Entries that are read between two looks at the clock and at what else is to do.
const SLICE: usize = 256;
/// How often positions alone are worth a batch.
const IDLE_SEAL: Duration = Duration::from_secs(1);
/// Pause after a source could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// When a batch is sealed that is not full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Least time between two batches, when there is nothing more to read.
    pub linger: Duration,
    /// Longest wait of a record for its batch, when there is.
    pub longest: Duration,
}

/// What decides about records; swapped as a whole when the configuration is read again.
#[derive(Debug, Clone)]
pub struct Decisions {
    /// Stage 2.
    pub rules: Arc<Rules>,
    /// Stage 3.
    pub routes: Arc<Routes>,
    /// Which of the routes' destinations this pipeline is.
    pub destination: DestinationId,
}

/// The reading half of a pipeline.
pub(super) struct Reading<S> {
    source: S,
    entry: Entry,
    shaper: Shaper,
    marks: Marks,
    sink: Sink,
    pace: Pace,
    clock: fn() -> Now,
    instances: watch::Receiver<Arc<Instances>>,
    known: Arc<Instances>,
    number: u64,
    sealed: Instant,
    /// When a source that failed is tried again.
    read_again: Option<Instant>,
}

/// Where shaped records go.
struct Sink {
    routes: Arc<Routes>,
    destination: DestinationId,
    tag: String,
    builder: BatchBuilder,
    metrics: PipelineMetrics,
}

impl Sink {
    fn take(&mut self, shaped: Shaped<'_>) {
        match shaped {
            Shaped::Record(record) => {
                if self.routes.decide(record, self.destination, &mut self.tag) {
                    self.builder.push(&self.tag, record);
                    self.metrics.records.inc();
                } else {
                    self.metrics.unrouted.inc();
                }
            }
            Shaped::Dropped { rule, .. } => self.metrics.dropped(rule),
            Shaped::Lost(lost) => {
                self.metrics.lost(
                    lost.reason.as_str(),
                    lost.writer.unwrap_or_default(),
                    lost.count,
                );
            }
        }
    }
}

/// What a step of reading came to.
#[derive(Debug)]
pub(super) enum Came {
    /// A batch.
    Batch(Batch),
    /// There is more to read.
    More,
    /// Everything is read, and no batch is due yet.
    Nothing,
}

impl<S: Source> Reading<S> {
    pub(super) fn new(
        (source, begun): (S, Vec<(SourceId, SourcePosition)>),
        decisions: Decisions,
        (limits, pace): (Limits, Pace),
        (number, positions): (u64, Positions),
        instances: watch::Receiver<Arc<Instances>>,
        clock: fn() -> Now,
        metrics: PipelineMetrics,
    ) -> Self {
        let mut marks = Marks::new(positions);
        for (id, position) in begun {
            marks.begin(id, source.name(id), position);
        }
        let now = clock().monotonic;
        let known = Arc::clone(&instances.borrow());
        Self {
            source,
            entry: Entry::default(),
            shaper: Shaper::new(decisions.rules),
            marks,
            sink: Sink {
                routes: decisions.routes,
                destination: decisions.destination,
                tag: String::new(),
                builder: BatchBuilder::new(limits),
                metrics,
            },
            pace,
            clock,
            instances,
            known,
            number,
            sealed: now,
            read_again: None,
        }
    }

    /// Takes other rules and routes from the next record on.
    pub(super) fn decide_by(&mut self, decisions: Decisions) {
        self.shaper.set_rules(decisions.rules);
        self.sink.routes = decisions.routes;
        self.sink.destination = decisions.destination;
    }

    /// Reads a slice of entries.
    pub(super) fn step(&mut self) -> Came {
        let now = (self.clock)();
        self.expire(now);
        if self.read_again.is_some_and(|at| at > now.monotonic) {
            return Came::Nothing;
        }
        for _ in 0..SLICE {
            if self.sink.builder.is_full() {
                return Came::Batch(self.seal(now.monotonic));
            }
            if !self.entry(now) {
                return match self.is_due(now.monotonic, self.pace.linger) {
                    true => Came::Batch(self.seal(now.monotonic)),
                    false => Came::Nothing,
                };
            }
        }
        match self.is_due(now.monotonic, self.pace.longest) {
            true => Came::Batch(self.seal(now.monotonic)),
            false => Came::More,
        }
    }

    /// Takes one step of the source; `false` when it has nothing more.
    fn entry(&mut self, now: Now) -> bool {
        let Self { source, entry, shaper, marks, sink, known, .. } = self;
        let step = match source.next(entry, now.realtime_us) {
            Ok(step) => step,
            Err(error) => {
                sink.metrics.read_errors.inc();
                self.read_again = Some(now.monotonic + READ_PAUSE);
                warn!(error = %ErrorChain(&error), "A source cannot be read; it is tried again");
                return false;
            }
        };
        let name = |id: SourceId| Arc::from(source.name(id));
        match step {
            Step::Entry { again: false } => {
                sink.metrics.read.inc();
                sink.metrics.read_bytes.inc_by(entry.fields.size() as u64);
                shaper.push(entry, now, known, &mut |shaped| sink.take(shaped));
                marks.passed(entry.source, &entry.cursor, || name(entry.source));
            }
            Step::Entry { again: true } => {
                let begins = marks.again(entry.source, &entry.cursor, || name(entry.source));
                shaper.replay(entry, begins, now, known, &mut |shaped| sink.take(shaped));
            }
            Step::Skipped => marks.passed(entry.source, &entry.cursor, || name(entry.source)),
            Step::Lost(loss) => sink.metrics.loss(&loss, source.name(loss.source)),
            Step::Ended(source) => marks.ended(source, || name(source)),
            Step::End => return false,
        }
        true
    }

    fn expire(&mut self, now: Now) {
        let has_news = self.instances.has_changed().unwrap_or(false);
        if has_news {
            self.known = Arc::clone(&self.instances.borrow_and_update());
        }
        if has_news || self.shaper.next_deadline().is_some_and(|at| at <= now.monotonic) {
            let Self { shaper, sink, known, .. } = self;
            shaper.expire(now, known, &mut |shaped| sink.take(shaped));
        }
    }

    fn is_due(&self, now: Instant, linger: Duration) -> bool {
        let age = now.saturating_duration_since(self.sealed);
        match self.sink.builder.is_empty() {
            false => age >= linger,
            true => age >= IDLE_SEAL && self.marks.has_changed(),
        }
    }

    fn seal(&mut self, now: Instant) -> Batch {
        self.sealed = now;
        self.number = self.number.saturating_add(1);
        let progress = self.marks.take(self.shaper.open());
        self.sink.builder.seal(self.number, progress)
    }

    /// Seals what there is, for the stop; `None` when there is nothing to say.
    pub(super) fn finish(&mut self) -> Option<Batch> {
        let is_worth = !self.sink.builder.is_empty() || self.marks.has_changed();
        is_worth.then(|| self.seal((self.clock)().monotonic))
    }

    /// Waits until there may be something to do, at most this long.
    pub(super) fn wait(&mut self, longest: Duration) {
        let now = (self.clock)().monotonic;
        let mut span = longest;
        if !self.sink.builder.is_empty() {
            let age = now.saturating_duration_since(self.sealed);
            span = span.min(self.pace.linger.saturating_sub(age));
        }
        if let Some(at) = self.shaper.next_deadline() {
            span = span.min(at.saturating_duration_since(now));
        }
        if let Err(error) = self.source.wait(span) {
            self.sink.metrics.read_errors.inc();
            self.read_again = Some(now + READ_PAUSE);
            warn!(error = %ErrorChain(&error), "Sources cannot be waited for; they are tried again");
        }
    }

    /// Whether journald is about to delete what was not read yet.
    pub(super) fn is_at_risk(&mut self) -> bool {
        let Self { source, marks, .. } = self;
        source.is_at_risk(&|name| marks.through(name))
    }

    /// Lets go of files, for a pause.
    pub(super) fn release(&mut self) {
        self.source.release();
    }
}
