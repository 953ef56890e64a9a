//! What the traces part counts. `sender` is a service of this host as `SYSTEM/SERVICE`, or `unknown`: its values are bounded by
//! what is registered here.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::receive::{Protocol, Refusal};
use super::send::BackEnd;
use super::shape::Reject;
use crate::metrics::registered;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySender {
    sender: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByProtocol {
    sender: Arc<str>,
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    sender: Arc<str>,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByBackEnd {
    back_end: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lost {
    back_end: Arc<str>,
    sender: Arc<str>,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    back_end: Arc<str>,
    reason: &'static str,
}

/// The counters; clones count together.
#[derive(Debug, Clone)]
pub struct TraceMetrics {
    received: Family<ByProtocol, Counter>,
    refused: Family<ByReason, Counter>,
    pub(super) refused_connections: Counter,
    rejected: Family<ByReason, Counter>,
    changed: Family<BySender, Counter>,
    backwards: Family<BySender, Counter>,
    unrouted: Family<BySender, Counter>,
    sampled_out: Family<BySender, Counter>,
    sent: Family<ByBackEnd, Counter>,
    lost: Family<Lost, Counter>,
    retries: Family<ByCause, Counter>,
    recovered: Family<ByBackEnd, Counter>,
    damaged: Family<ByBackEnd, Counter>,
}

impl TraceMetrics {
    /// Makes them and registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let traces = registry.sub_registry_with_prefix("mesh_traces");
        Self {
            received: registered(
                traces,
                "received_spans",
                "Spans that came in requests that could be read, by protocol",
            ),
            refused: registered(
                traces,
                "refused_requests",
                "Requests that were refused as a whole; queue_full and busy are to be sent again",
            ),
            refused_connections: registered(
                traces,
                "refused_connections",
                "Connections that were closed at once: there were traces.max_connections",
            ),
            rejected: registered(
                traces,
                "rejected_spans",
                "Spans that were refused for themselves",
            ),
            changed: registered(
                traces,
                "changed_spans",
                "Spans that were shortened or had secrets masked",
            ),
            backwards: registered(
                traces,
                "backwards_spans",
                "Spans that end before they begin; they are passed on",
            ),
            unrouted: registered(traces, "unrouted_spans", "Spans that no back end is for"),
            sampled_out: registered(
                traces,
                "sampled_out_spans",
                "Spans that tail sampling left out",
            ),
            sent: registered(traces, "sent_spans", "Spans that a back end has acknowledged"),
            lost: registered(
                traces,
                "lost_spans",
                "Accepted spans that a back end never gets: it refused them for good, its queue was full \
                 while another's took them, or the disk damaged them",
            ),
            retries: registered(
                traces,
                "retries",
                "Batches that are sent again, by what went wrong",
            ),
            recovered: registered(
                traces,
                "recovered_records",
                "Records that the start found in the queue on disk",
            ),
            damaged: registered(
                traces,
                "damaged_bytes",
                "Bytes in the queue on disk that could not be read at the start; a tail cut short by a kill \
                 was never acknowledged",
            ),
        }
    }

    pub(super) fn received(&self, sender: &Arc<str>, protocol: Protocol, spans: u32) {
        let label = ByProtocol { sender: Arc::clone(sender), protocol: protocol.word() };
        self.received.get_or_create(&label).inc_by(spans.into());
    }

    pub(super) fn refused(&self, sender: &Arc<str>, refusal: &Refusal) {
        let label = ByReason { sender: Arc::clone(sender), reason: refusal.word() };
        self.refused.get_or_create(&label).inc();
    }

    pub(super) fn rejected(&self, sender: &Arc<str>, reject: Reject, spans: u32) {
        let label = ByReason { sender: Arc::clone(sender), reason: reject.word() };
        self.rejected.get_or_create(&label).inc_by(spans.into());
    }

    pub(super) fn changed(&self, sender: &Arc<str>, changed: u32, backwards: u32) {
        let label = BySender { sender: Arc::clone(sender) };
        if changed > 0 {
            self.changed.get_or_create(&label).inc_by(changed.into());
        }
        if backwards > 0 {
            self.backwards.get_or_create(&label).inc_by(backwards.into());
        }
    }

    pub(super) fn unrouted(&self, sender: &Arc<str>, spans: u32) {
        self.unrouted.get_or_create(&BySender { sender: Arc::clone(sender) }).inc_by(spans.into());
    }

    pub(super) fn sampled_out(&self, sender: &Arc<str>, spans: u32) {
        self.sampled_out.get_or_create(&BySender { sender: label_of(sender) }).inc_by(spans.into());
    }

    pub(super) fn sent(&self, back_end: &Arc<str>, spans: u64) {
        self.sent.get_or_create(&ByBackEnd { back_end: Arc::clone(back_end) }).inc_by(spans);
    }

    pub(super) fn lost(
        &self,
        back_end: &Arc<str>,
        sender: &Arc<str>,
        reason: &'static str,
        spans: u64,
    ) {
        let label = Lost { back_end: Arc::clone(back_end), sender: label_of(sender), reason };
        self.lost.get_or_create(&label).inc_by(spans);
    }

    pub(super) fn retry(&self, back_end: &Arc<str>, reason: &'static str) {
        self.retries.get_or_create(&ByCause { back_end: Arc::clone(back_end), reason }).inc();
    }

    pub(super) fn recovered(&self, back_end: &Arc<str>, records: u64, damaged: u64) {
        let label = ByBackEnd { back_end: Arc::clone(back_end) };
        self.recovered.get_or_create(&label).inc_by(records);
        self.damaged.get_or_create(&label).inc_by(damaged);
    }
}

/// The word for a lane of a queue: who is unknown has a lane by its address, which no metric may grow with.
fn label_of(lane: &Arc<str>) -> Arc<str> {
    if lane.parse::<IpAddr>().is_ok() { Arc::from("unknown") } else { Arc::clone(lane) }
}

/// Reads the queues at scrape time.
#[derive(Debug)]
pub struct QueueMetrics {
    /// The back ends.
    pub back_ends: Arc<[Arc<BackEnd>]>,
}

/// Name, help and value of a gauge of a queue.
type QueueGauge = (&'static str, &'static str, fn(&super::queue::QueueStatus) -> f64);

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
const GAUGES: [QueueGauge; 5] = [
    ("mesh_traces_queue_spans", "Spans that wait for a back end or are being sent", |queue| {
        queue.spans as f64
    }),
    ("mesh_traces_queue_bytes", "Bytes of them", |queue| queue.bytes as f64),
    ("mesh_traces_queue_memory_bytes", "Bytes of them in memory", |queue| {
        queue.memory_bytes as f64
    }),
    ("mesh_traces_queue_disk_bytes", "Bytes of the queue's files", |queue| queue.disk_bytes as f64),
    ("mesh_traces_queue_oldest_seconds", "How long the oldest waits", |queue| {
        queue.oldest.unwrap_or_default().as_secs_f64()
    }),
];

impl Collector for QueueMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = Instant::now();
        let queues: Vec<_> = self
            .back_ends
            .iter()
            .map(|back_end| (&back_end.name, back_end.queue.status(now)))
            .collect();
        for (name, help, value) in GAUGES {
            let kind = ConstGauge::new(0.0).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (back_end, status) in &queues {
                let labels = ByBackEnd { back_end: Arc::clone(back_end) };
                ConstGauge::new(value(status)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
