//! What the xDS server counts.
//!
//! **Invariants**: labels come from closed enums; nothing is labelled by proxy or resource.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::xds::resources::ResourceType;
use crate::xds::stream::{Event, Mode};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByMode {
    mode: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    r#type: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

/// Why a stream was ended or not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Age,
    Shutdown,
    NotReady,
    BadNode,
    BadRequest,
    Silent,
    NoSource,
    Crowded,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Shutdown => "shutdown",
            Self::NotReady => "not_ready",
            Self::BadNode => "bad_node",
            Self::BadRequest => "bad_request",
            Self::Silent => "silent",
            Self::NoSource => "no_source",
            Self::Crowded => "crowded",
        }
    }
}

/// The server's metrics; clones count together.
#[derive(Debug, Clone)]
pub struct XdsMetrics {
    streams: Family<ByMode, Gauge>,
    requests: Family<ByMode, Counter>,
    ended: Family<ByReason, Counter>,
    pushes: Family<ByOutcome, Counter>,
    nacks: Family<ByType, Counter>,
    quarantined: Family<ByType, Counter>,
    expired_gates: Family<ByType, Counter>,
    sent_bytes: Family<ByType, Counter>,
    ack_seconds: Family<ByType, Histogram>,
    unserved: Counter,
    admission_waiting: Gauge,
}

const fn by_type(kind: ResourceType) -> ByType {
    ByType { r#type: kind.as_str() }
}

fn ack_histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0])
}

impl XdsMetrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            streams: Family::default(),
            requests: Family::default(),
            ended: Family::default(),
            pushes: Family::default(),
            nacks: Family::default(),
            quarantined: Family::default(),
            expired_gates: Family::default(),
            sent_bytes: Family::default(),
            ack_seconds: Family::new_with_constructor(ack_histogram),
            unserved: Counter::default(),
            admission_waiting: Gauge::default(),
        };
        let xds = registry.sub_registry_with_prefix("mesh_xds");
        xds.register("streams", "Open xDS streams", metrics.streams.clone());
        xds.register("requests", "Requests from proxies", metrics.requests.clone());
        xds.register("ended_streams", "Streams ended or refused, by reason", metrics.ended.clone());
        xds.register("pushes", "Responses sent, and what became of them", metrics.pushes.clone());
        xds.register("nacks", "Responses that a proxy refused", metrics.nacks.clone());
        xds.register(
            "quarantined_resources",
            "Resources held back from a proxy that refused them",
            metrics.quarantined.clone(),
        );
        xds.register(
            "expired_gates",
            "Resources sent although what they waited for had not come",
            metrics.expired_gates.clone(),
        );
        xds.register("sent_bytes", "Bytes of responses", metrics.sent_bytes.clone());
        xds.register("ack_seconds", "Time from a response to its ACK", metrics.ack_seconds.clone());
        xds.register(
            "unserved_requests",
            "Requests for types that are not served",
            metrics.unserved.clone(),
        );
        xds.register(
            "admission_waiting",
            "Streams that wait to be set up because too many came at once",
            metrics.admission_waiting.clone(),
        );
        metrics
    }

    /// How many streams wait to be set up.
    pub(super) fn admission_waiting(&self) -> Gauge {
        self.admission_waiting.clone()
    }

    /// Counts a stream until the returned guard is dropped.
    pub(super) fn stream(&self, mode: Mode) -> OpenStream {
        let gauge = self.streams.get_or_create_owned(&ByMode { mode: mode.as_str() });
        gauge.inc();
        OpenStream(gauge)
    }

    pub(super) fn request(&self, mode: Mode) {
        self.requests.get_or_create(&ByMode { mode: mode.as_str() }).inc();
    }

    pub(super) fn unserved(&self) {
        self.unserved.inc();
    }

    pub(super) fn ended(&self, ended: Ended) {
        self.ended.get_or_create(&ByReason { reason: ended.as_str() }).inc();
    }

    pub(super) fn push(&self, kind: ResourceType, bytes: usize) {
        self.outcome(kind, "sent");
        self.sent_bytes.get_or_create(&by_type(kind)).inc_by(bytes as u64);
    }

    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::Acked { kind, latency } => {
                self.outcome(*kind, "acked");
                self.ack_seconds.get_or_create(&by_type(*kind)).observe(latency.as_secs_f64());
            }
            Event::Nacked { kind, .. } => {
                self.outcome(*kind, "nacked");
                self.nacks.get_or_create(&by_type(*kind)).inc();
            }
            Event::Quarantined { kind, .. } => {
                self.quarantined.get_or_create(&by_type(*kind)).inc();
            }
            Event::AckOverdue { kind } => self.outcome(*kind, "overdue"),
            Event::GateExpired { kind, .. } => {
                self.expired_gates.get_or_create(&by_type(*kind)).inc();
            }
        }
    }

    fn outcome(&self, kind: ResourceType, outcome: &'static str) {
        self.pushes.get_or_create(&ByOutcome { r#type: kind.as_str(), outcome }).inc();
    }
}

/// Counts one open stream.
#[derive(Debug)]
pub(super) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
