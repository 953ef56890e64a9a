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
    held_back: Family<ByType, Gauge>,
    expired_gates: Family<ByType, Counter>,
    sent_bytes: Family<ByType, Counter>,
    ack_seconds: Family<ByType, Histogram>,
    unserved: Counter,
    admission_waiting: Gauge,
    /// `requests`: delta's, then state of the world's.
    by_mode: [Counter; 2],
    /// In the order of [`ResourceType::ALL`].
    events: [EventMetrics; 6],
}

/// What counts with every event of every stream: looked up once, not each time.
#[derive(Debug, Clone)]
struct EventMetrics {
    sent: Counter,
    acked: Counter,
    sent_bytes: Counter,
    ack_seconds: Histogram,
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
        let requests = Family::<ByMode, Counter>::default();
        let pushes = Family::<ByOutcome, Counter>::default();
        let sent_bytes = Family::<ByType, Counter>::default();
        let ack_seconds =
            Family::<ByType, Histogram>::new_with_constructor(ack_histogram as fn() -> Histogram);
        let outcome = |kind: ResourceType, outcome| {
            pushes.get_or_create_owned(&ByOutcome { r#type: kind.as_str(), outcome })
        };
        let metrics = Self {
            streams: Family::default(),
            by_mode: [Mode::Delta, Mode::Sotw]
                .map(|mode| requests.get_or_create_owned(&ByMode { mode: mode.as_str() })),
            events: ResourceType::ALL.map(|kind| EventMetrics {
                sent: outcome(kind, "sent"),
                acked: outcome(kind, "acked"),
                sent_bytes: sent_bytes.get_or_create_owned(&by_type(kind)),
                ack_seconds: ack_seconds.get_or_create_owned(&by_type(kind)),
            }),
            requests,
            ended: Family::default(),
            pushes,
            nacks: Family::default(),
            quarantined: Family::default(),
            held_back: Family::default(),
            expired_gates: Family::default(),
            sent_bytes,
            ack_seconds,
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
            "held_back_resources",
            "Resources held back from all proxies of a version, because two of them refused them",
            metrics.held_back.clone(),
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
        let [delta, sotw] = &self.by_mode;
        match mode {
            Mode::Delta => delta.inc(),
            Mode::Sotw => sotw.inc(),
        };
    }

    pub(super) fn unserved(&self) {
        self.unserved.inc();
    }

    pub(super) fn ended(&self, ended: Ended) {
        self.ended.get_or_create(&ByReason { reason: ended.as_str() }).inc();
    }

    pub(super) fn push(&self, kind: ResourceType, bytes: usize) {
        let metrics = self.of(kind);
        metrics.sent.inc();
        metrics.sent_bytes.inc_by(bytes as u64);
    }

    pub(super) fn event(&self, event: &Event) {
        match event {
            Event::Acked { kind, latency } => {
                let metrics = self.of(*kind);
                metrics.acked.inc();
                metrics.ack_seconds.observe(latency.as_secs_f64());
            }
            Event::Nacked { kind, .. } => {
                self.outcome(*kind, "nacked");
                self.nacks.get_or_create(&by_type(*kind)).inc();
            }
            Event::Quarantined(refusal) => {
                self.quarantined.get_or_create(&by_type(refusal.kind)).inc();
            }
            Event::Vindicated { .. } => {}
            Event::AckOverdue { kind } => self.outcome(*kind, "overdue"),
            Event::GateExpired { kind, .. } => {
                self.expired_gates.get_or_create(&by_type(*kind)).inc();
            }
        }
    }

    /// What is held back from one class, before and after a change.
    pub(super) fn held_back(&self, kind: ResourceType, before: usize, after: usize) {
        let gauge = self.held_back.get_or_create(&by_type(kind));
        gauge.inc_by(i64::try_from(after).unwrap_or(i64::MAX));
        gauge.dec_by(i64::try_from(before).unwrap_or(i64::MAX));
    }

    const fn of(&self, kind: ResourceType) -> &EventMetrics {
        let [clusters, endpoints, secrets, extensions, listeners, routes] = &self.events;
        match kind {
            ResourceType::Cluster => clusters,
            ResourceType::Endpoints => endpoints,
            ResourceType::Secret => secrets,
            ResourceType::Extension => extensions,
            ResourceType::Listener => listeners,
            ResourceType::Routes => routes,
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
