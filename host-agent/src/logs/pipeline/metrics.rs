//! What pipelines count, by destination.
//!
//! Registered once for the process ([`LogMetrics::new`]); each pipeline gets the handles of its destination, looked up once.
//!
//! **Invariants**: the number of series is bounded: destinations and rules are the configuration's, reasons are a closed set,
//! and of writers the first 500 are named, the others count together.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::logs::deliver::metrics::ByDestination;
use crate::logs::read::Loss;
use crate::metrics::{registered, table};

/// Writers that losses are counted by; those beyond share a series.
const MOST_WRITERS: usize = 500;
/// What the writers beyond are called.
const OTHERS: &str = "others";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRule {
    destination: String,
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByLoss {
    destination: String,
    reason: &'static str,
    writer: String,
}

table! {
    /// What is counted of a pipeline.
    Destinations by ByDestination => PipelineCounts {
        read: Counter = "read_entries",
            "Entries of journals and lines of files read for the first time in this run";
        read_bytes: Counter = "read_bytes", "Bytes of their fields";
        read_errors: Counter = "read_errors", "Times that a source could not be read";
        records: Counter = "records", "Records made of them for this destination, each once";
        unrouted: Counter = "unrouted_records", "Records that no route sends to this destination";
        unsent_age: Gauge = "oldest_unsent_age" in Unit::Seconds,
            "Age of the oldest record that was read and is not delivered; 0 without one";
        batches: Gauge = "batches_in_flight", "Batches on their way";
        spool_bytes: Gauge = "spool_bytes", "Size of the spool";
        spooled: Counter = "spooled_records",
            "Records copied into the spool because journald was about to delete them";
        spool_errors: Counter = "spool_errors", "Times that the spool could not be written or read";
        spool_damaged_bytes: Counter = "spool_damaged_bytes",
            "Bytes that were given up at a start because they were torn or damaged";
        save_errors: Counter = "position_errors", "Times that a position could not be saved";
    }
}

/// All pipelines' metrics; clones count together.
#[derive(Debug, Clone)]
pub struct LogMetrics {
    destinations: Destinations,
    dropped: Family<ByRule, Counter>,
    lost: Family<ByLoss, Counter>,
    losses: Family<ByLoss, Counter>,
    writers: Arc<Mutex<BTreeSet<String>>>,
}

/// One destination's.
#[derive(Debug, Clone)]
pub struct PipelineMetrics {
    counts: PipelineCounts,
    all: LogMetrics,
    name: String,
}

impl LogMetrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let logs = registry.sub_registry_with_prefix("mesh_logs");
        Self {
            destinations: Destinations::register(logs),
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
            writers: Arc::default(),
        }
    }

    /// The handles of a destination.
    pub fn pipeline(&self, destination: &str) -> PipelineMetrics {
        let label = ByDestination { destination: destination.to_owned() };
        let counts = self.destinations.of(&label);
        PipelineMetrics { counts, all: self.clone(), name: label.destination }
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

impl Deref for PipelineMetrics {
    type Target = PipelineCounts;

    fn deref(&self) -> &PipelineCounts {
        &self.counts
    }
}
