//! What pipelines count, by destination.
//!
//! Registered once for the process ([`LogMetrics::new`]); each pipeline gets the handles of its destination, looked up once.
//!
//! **Invariants**: the number of series is bounded: destinations and rules are the configuration's, reasons are a closed set,
//! and of writers the first 500 are named, the others count together.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::logs::read::Loss;
use crate::metrics::{measured, registered};

/// Writers that losses are counted by; those beyond share a series.
const MOST_WRITERS: usize = 500;
/// What the writers beyond are called.
const OTHERS: &str = "others";

/// Labels of what a pipeline counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByDestination {
    destination: String,
}

/// Labels of what a rule dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByRule {
    destination: String,
    rule: String,
}

/// Labels of a loss.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByLoss {
    destination: String,
    reason: &'static str,
    writer: String,
}

/// All pipelines' metrics; clones count together.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    read: Family<ByDestination, Counter>,
    read_bytes: Family<ByDestination, Counter>,
    records: Family<ByDestination, Counter>,
    read_errors: Family<ByDestination, Counter>,
    unrouted: Family<ByDestination, Counter>,
    dropped: Family<ByRule, Counter>,
    lost: Family<ByLoss, Counter>,
    losses: Family<ByLoss, Counter>,
    unsent_age: Family<ByDestination, Gauge>,
    batches: Family<ByDestination, Gauge>,
    spool_bytes: Family<ByDestination, Gauge>,
    spooled: Family<ByDestination, Counter>,
    spool_errors: Family<ByDestination, Counter>,
    spool_damaged_bytes: Family<ByDestination, Counter>,
    save_errors: Family<ByDestination, Counter>,
    writers: Arc<Mutex<BTreeSet<String>>>,
}

/// One destination's.
#[derive(Debug, Clone)]
pub struct PipelineMetrics {
    all: LogMetrics,
    name: String,
    /// Entries read for the first time in this run.
    pub read: Counter,
    /// Bytes of their names and values.
    pub read_bytes: Counter,
    /// Times that a source could not be read.
    pub read_errors: Counter,
    /// Records put into batches.
    pub records: Counter,
    /// Records that no route sends to this destination.
    pub unrouted: Counter,
    /// Age of the oldest record that is not delivered; 0 without one.
    pub unsent_age: Gauge,
    /// Batches on their way.
    pub batches: Gauge,
    /// Bytes in the spool.
    pub spool_bytes: Gauge,
    /// Records copied into the spool.
    pub spooled: Counter,
    /// Times the spool could not be written or read.
    pub spool_errors: Counter,
    /// Bytes of the spool given up at a start.
    pub spool_damaged_bytes: Counter,
    /// Times a position could not be saved.
    pub save_errors: Counter,
}

impl LogMetrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let logs = registry.sub_registry_with_prefix("mesh_logs");
        Self {
            read: registered(
                logs,
                "read_entries",
                "Entries of journals and lines of files read for the first time in this run",
            ),
            read_bytes: registered(logs, "read_bytes", "Bytes of their fields"),
            read_errors: registered(logs, "read_errors", "Times that a source could not be read"),
            records: registered(
                logs,
                "records",
                "Records made of them for this destination, each once",
            ),
            unrouted: registered(
                logs,
                "unrouted_records",
                "Records that no route sends to this destination",
            ),
            dropped: registered(
                logs,
                "dropped_records",
                "Records that a rule dropped or did not sample",
            ),
            lost: registered(
                logs,
                "lost_records",
                "Records lost for good, by reason and who wrote them, where it is known how many",
            ),
            losses: registered(
                logs,
                "losses",
                "Times that records were lost, whether it is known how many or not",
            ),
            unsent_age: measured(
                logs,
                "oldest_unsent_age",
                "Age of the oldest record that was read and is not delivered; 0 without one",
                Unit::Seconds,
            ),
            batches: registered(logs, "batches_in_flight", "Batches on their way"),
            spool_bytes: registered(logs, "spool_bytes", "Size of the spool"),
            spooled: registered(
                logs,
                "spooled_records",
                "Records copied into the spool because journald was about to delete them",
            ),
            spool_errors: registered(
                logs,
                "spool_errors",
                "Times that the spool could not be written or read",
            ),
            spool_damaged_bytes: registered(
                logs,
                "spool_damaged_bytes",
                "Bytes that were given up at a start because they were torn or damaged",
            ),
            save_errors: registered(
                logs,
                "position_errors",
                "Times that a position could not be saved",
            ),
            writers: Arc::default(),
        }
    }

    /// The handles of a destination.
    pub fn pipeline(&self, destination: &str) -> PipelineMetrics {
        let label = ByDestination { destination: destination.to_owned() };
        PipelineMetrics {
            read: self.read.get_or_create_owned(&label),
            read_bytes: self.read_bytes.get_or_create_owned(&label),
            read_errors: self.read_errors.get_or_create_owned(&label),
            records: self.records.get_or_create_owned(&label),
            unrouted: self.unrouted.get_or_create_owned(&label),
            unsent_age: self.unsent_age.get_or_create_owned(&label),
            batches: self.batches.get_or_create_owned(&label),
            spool_bytes: self.spool_bytes.get_or_create_owned(&label),
            spooled: self.spooled.get_or_create_owned(&label),
            spool_errors: self.spool_errors.get_or_create_owned(&label),
            spool_damaged_bytes: self.spool_damaged_bytes.get_or_create_owned(&label),
            save_errors: self.save_errors.get_or_create_owned(&label),
            all: self.clone(),
            name: label.destination,
        }
    }

    fn writer(&self, writer: &str) -> String {
        let mut known = self.writers.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(writer) || known.len() < MOST_WRITERS {
            known.insert(writer.to_owned());
            return writer.to_owned();
        }
        OTHERS.to_owned()
    }
}

impl PipelineMetrics {
    /// A rule dropped a record.
    pub fn dropped(&self, rule: &str) {
        let label = ByRule { destination: self.name.clone(), rule: rule.to_owned() };
        self.all.dropped.get_or_create(&label).inc();
    }

    /// Records were lost.
    pub fn lost(&self, reason: &'static str, writer: &str, records: u64) {
        let writer = self.all.writer(writer);
        let label = ByLoss { destination: self.name.clone(), reason, writer };
        self.all.lost.get_or_create(&label).inc_by(records);
        self.all.losses.get_or_create(&label).inc();
    }

    /// A source lost entries before they were read.
    pub fn loss(&self, loss: &Loss, source: &str) {
        self.lost(loss.cause.label(), source, loss.entries.unwrap_or(0));
        tracing::warn!(
            destination = self.name,
            source,
            cause = loss.cause.label(),
            entries = loss.entries,
            at_most = loss.is_at_most,
            bytes = loss.bytes,
            "Entries were lost before they could be read"
        );
    }
}
