//! What the relay says of itself, beside what it says of each target in every answer.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::flight::Outcome;
use super::merge::DropReason;
use crate::metrics::{measured, registered};

/// Metrics of the relay.
#[derive(Debug)]
pub struct RelayMetrics {
    requests: Family<RequestLabels, Counter>,
    pub(super) shared: Counter,
    failures: Family<FailureLabels, Counter>,
    dropped: Family<DropLabels, Counter>,
    type_changes: Family<ServiceLabels, Counter>,
    targets: Gauge,
    pub(super) callers: Gauge,
    pub(super) cut_answers: Counter,
    pub(super) refused_connections: Counter,
    answered: Counter,
    seconds: Family<FormatLabels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    format: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FormatLabels {
    format: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    service: String,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DropLabels {
    service: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

fn seconds() -> Histogram {
    Histogram::new([0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl RelayMetrics {
    /// Makes and registers them.
    pub fn register(registry: &mut Registry) -> Arc<Self> {
        let seconds = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit(
            "mesh_relay_answer",
            "Time from a request for metrics to its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        Arc::new(Self {
            seconds,
            requests: registered(
                registry,
                "mesh_relay_requests",
                "Answers to /metrics by format and status",
            ),
            answered: measured(
                registry,
                "mesh_relay_answered",
                "Bytes of answers before they are packed",
                Unit::Bytes,
            ),
            shared: registered(
                registry,
                "mesh_relay_shared_scrapes",
                "Scrapes that served a further caller within a second",
            ),
            failures: registered(
                registry,
                "mesh_relay_failures",
                "Scrapes that failed, by service and class of error",
            ),
            dropped: registered(
                registry,
                "mesh_relay_dropped_samples",
                "Samples that were left out, by service and reason",
            ),
            type_changes: registered(
                registry,
                "mesh_relay_type_changes",
                "Families whose TYPE changed within one body, by service",
            ),
            targets: registered(registry, "mesh_relay_targets", "Exporters known on this host"),
            callers: registered(
                registry,
                "mesh_relay_callers",
                "Requests for metrics that are being answered, of relay.callers at most",
            ),
            cut_answers: registered(
                registry,
                "mesh_relay_cut_answers",
                "Answers that their caller did not take within relay.timeout_ms",
            ),
            refused_connections: registered(
                registry,
                "mesh_relay_refused_connections",
                "Connections that were closed at once: there were as many as there may be",
            ),
        })
    }

    pub(super) fn note(&self, outcome: &Outcome) {
        let service = || outcome.target.service.clone();
        match &outcome.result {
            Err(failure) => {
                let class = failure.class().as_str();
                self.failures.get_or_create(&FailureLabels { service: service(), class }).inc();
            }
            Ok(scraped) if scraped.exposition.conflicts > 0 => {
                let conflicts = scraped.exposition.conflicts as u64;
                let labels = ServiceLabels { service: service() };
                self.type_changes.get_or_create(&labels).inc_by(conflicts);
            }
            Ok(_) => {}
        }
    }

    pub(super) fn note_dropped(&self, service: &str, reason: DropReason, series: usize) {
        let labels = DropLabels { service: service.to_owned(), reason: reason.as_str() };
        self.dropped.get_or_create(&labels).inc_by(series as u64);
    }

    pub(super) fn note_targets(&self, targets: usize) {
        self.targets.set(i64::try_from(targets).unwrap_or(i64::MAX));
    }

    pub(super) fn note_request(&self, format: &'static str, status: u16) {
        self.requests.get_or_create(&RequestLabels { format, status }).inc();
    }

    pub(super) fn note_answer(
        &self,
        format: &'static str,
        status: u16,
        bytes: usize,
        duration: std::time::Duration,
    ) {
        self.note_request(format, status);
        self.seconds.get_or_create(&FormatLabels { format }).observe(duration.as_secs_f64());
        self.answered.inc_by(bytes as u64);
    }
}
