//! What outputs count, by destination and server.
//!
//! Registered once for the process ([`DeliverMetrics::new`]); each output gets the handles of its destination and of each of
//! its servers, looked up once. Labels are names of the configuration, so their number is bounded.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::registered;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDestination {
    destination: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByServer {
    destination: String,
    server: String,
}

/// All outputs' metrics; clones count together.
#[derive(Debug, Clone)]
pub struct DeliverMetrics {
    acked: Family<ByDestination, Counter>,
    unconfirmed: Family<ByDestination, Counter>,
    dead: Family<ByDestination, Counter>,
    write_errors: Family<ByDestination, Counter>,
    in_flight_messages: Family<ByDestination, Gauge>,
    in_flight_bytes: Family<ByDestination, Gauge>,
    suspects: Family<ByDestination, Gauge>,
    sent: Family<ByServer, Counter>,
    resent: Family<ByServer, Counter>,
    refused: Family<ByServer, Counter>,
    raw_bytes: Family<ByServer, Counter>,
    wire_bytes: Family<ByServer, Counter>,
    acks: Family<ByServer, Counter>,
    unknown_acks: Family<ByServer, Counter>,
    connections: Family<ByServer, Counter>,
    failures: Family<ByServer, Counter>,
    up: Family<ByServer, Gauge>,
}

/// One destination's.
#[derive(Debug, Clone)]
pub struct DestinationMetrics {
    all: DeliverMetrics,
    name: String,
    /// Records that the destination acknowledged, or that are written with `fsync`.
    pub acked: Counter,
    /// Records given to a connection that does not acknowledge (`require_ack = false`): delivered at most once.
    pub unconfirmed: Counter,
    /// Records in the dead-letter file.
    pub dead: Counter,
    /// Times that a file could not be written.
    pub write_errors: Counter,
    /// Messages without an outcome.
    pub in_flight_messages: Gauge,
    /// Their bytes before compression.
    pub in_flight_bytes: Gauge,
    /// Chunks suspected of being what a server refuses.
    pub suspects: Gauge,
}

/// One server's.
#[derive(Debug, Clone)]
pub struct ServerMetrics {
    /// Records sent, each time.
    pub sent: Counter,
    /// Of these, records that had been sent before.
    pub resent: Counter,
    /// Chunks that it refused while others passed.
    pub refused: Counter,
    /// Bytes of entries before compression.
    pub raw_bytes: Counter,
    /// Bytes of frames as sent, without TLS.
    pub wire_bytes: Counter,
    /// Acknowledgements.
    pub acks: Counter,
    /// Acknowledgements of chunks that were not in flight.
    pub unknown_acks: Counter,
    /// Connections that became ready.
    pub connections: Counter,
    /// Connections that failed or could not be made.
    pub failures: Counter,
    /// 1 while it can be used.
    pub up: Gauge,
}

impl DeliverMetrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let logs = registry.sub_registry_with_prefix("mesh_logs");
        Self {
            acked: registered(logs, "acked_records", "Records that the destination acknowledged"),
            unconfirmed: registered(
                logs,
                "unconfirmed_records",
                "Records sent where acknowledgements are turned off: delivered at most once",
            ),
            dead: registered(logs, "dead_records", "Records refused, in the dead-letter file"),
            write_errors: registered(logs, "write_errors", "Failed writes of an output's file"),
            in_flight_messages: registered(
                logs,
                "in_flight_messages",
                "Messages on their way to the destination",
            ),
            in_flight_bytes: registered(logs, "in_flight_bytes", "Their bytes, uncompressed"),
            suspects: registered(logs, "suspects", "Chunks that a server may be refusing"),
            sent: registered(logs, "sent_records", "Records sent, each time"),
            resent: registered(logs, "resent_records", "Records sent that had been sent before"),
            refused: registered(logs, "refused_chunks", "Chunks refused while others passed"),
            raw_bytes: registered(logs, "sent_raw_bytes", "Bytes of entries sent, uncompressed"),
            wire_bytes: registered(logs, "sent_wire_bytes", "Bytes of frames sent, without TLS"),
            acks: registered(logs, "acks", "Acknowledgements of chunks"),
            unknown_acks: registered(logs, "unknown_acks", "Acknowledgements of unknown chunks"),
            connections: registered(
                logs,
                "connections",
                "Connections to servers that became ready",
            ),
            failures: registered(logs, "connection_failures", "Connections that failed"),
            up: registered(logs, "server_up", "Whether a server can be used"),
        }
    }

    /// The handles of a destination.
    pub fn destination(&self, name: &str) -> DestinationMetrics {
        let label = ByDestination { destination: name.to_owned() };
        DestinationMetrics {
            acked: self.acked.get_or_create_owned(&label),
            unconfirmed: self.unconfirmed.get_or_create_owned(&label),
            dead: self.dead.get_or_create_owned(&label),
            write_errors: self.write_errors.get_or_create_owned(&label),
            in_flight_messages: self.in_flight_messages.get_or_create_owned(&label),
            in_flight_bytes: self.in_flight_bytes.get_or_create_owned(&label),
            suspects: self.suspects.get_or_create_owned(&label),
            all: self.clone(),
            name: label.destination,
        }
    }
}

impl DestinationMetrics {
    /// The handles of one of its servers.
    pub fn server(&self, server: &str) -> ServerMetrics {
        let label = ByServer { destination: self.name.clone(), server: server.to_owned() };
        let all = &self.all;
        ServerMetrics {
            sent: all.sent.get_or_create_owned(&label),
            resent: all.resent.get_or_create_owned(&label),
            refused: all.refused.get_or_create_owned(&label),
            raw_bytes: all.raw_bytes.get_or_create_owned(&label),
            wire_bytes: all.wire_bytes.get_or_create_owned(&label),
            acks: all.acks.get_or_create_owned(&label),
            unknown_acks: all.unknown_acks.get_or_create_owned(&label),
            connections: all.connections.get_or_create_owned(&label),
            failures: all.failures.get_or_create_owned(&label),
            up: all.up.get_or_create_owned(&label),
        }
    }
}
