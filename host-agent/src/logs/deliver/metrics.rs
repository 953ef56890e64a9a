//! What outputs count, by destination and server.
//!
//! Registered once for the process ([`DeliverMetrics::new`]); each output gets the handles of its destination and of each of
//! its servers, looked up once. Labels are names of the configuration, so their number is bounded.

use std::ops::Deref;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::table;

/// The label of a destination, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(in crate::logs) struct ByDestination {
    pub(in crate::logs) destination: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByServer {
    destination: String,
    server: String,
}

table! {
    /// What is counted of a destination.
    Destinations by ByDestination => DestinationCounts {
        acked: Counter = "acked_records", "Records that the destination acknowledged";
        unconfirmed: Counter = "unconfirmed_records",
            "Records sent where acknowledgements are turned off: delivered at most once";
        dead: Counter = "dead_records", "Records refused, in the dead-letter file";
        write_errors: Counter = "write_errors", "Failed writes of an output's file";
        in_flight_messages: Gauge = "in_flight_messages", "Messages on their way to the destination";
        in_flight_bytes: Gauge = "in_flight_bytes", "Their bytes, uncompressed";
        suspects: Gauge = "suspects", "Chunks that a server may be refusing";
    }
}

table! {
    /// What is counted of a server.
    Servers by ByServer => ServerMetrics {
        sent: Counter = "sent_records", "Records sent, each time";
        resent: Counter = "resent_records", "Records sent that had been sent before";
        refused: Counter = "refused_chunks", "Chunks refused while others passed";
        raw_bytes: Counter = "sent_raw_bytes", "Bytes of entries sent, uncompressed";
        wire_bytes: Counter = "sent_wire_bytes", "Bytes of frames sent, without TLS";
        acks: Counter = "acks", "Acknowledgements of chunks";
        unknown_acks: Counter = "unknown_acks", "Acknowledgements of unknown chunks";
        connections: Counter = "connections", "Connections to servers that became ready";
        failures: Counter = "connection_failures", "Connections that failed";
        up: Gauge = "server_up", "Whether a server can be used";
    }
}

/// All outputs' metrics; clones count together.
#[derive(Debug, Clone)]
pub struct DeliverMetrics {
    destinations: Destinations,
    servers: Servers,
}

/// One destination's.
#[derive(Debug, Clone)]
pub struct DestinationMetrics {
    counts: DestinationCounts,
    servers: Servers,
    name: String,
}

impl DeliverMetrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let logs = registry.sub_registry_with_prefix("mesh_logs");
        Self { destinations: Destinations::register(logs), servers: Servers::register(logs) }
    }

    /// The handles of a destination.
    pub fn destination(&self, name: &str) -> DestinationMetrics {
        let label = ByDestination { destination: name.to_owned() };
        let (counts, servers) = (self.destinations.of(&label), self.servers.clone());
        DestinationMetrics { counts, servers, name: label.destination }
    }
}

impl DestinationMetrics {
    /// The handles of one of its servers.
    pub fn server(&self, server: &str) -> ServerMetrics {
        self.servers.of(&ByServer { destination: self.name.clone(), server: server.to_owned() })
    }
}

impl Deref for DestinationMetrics {
    type Target = DestinationCounts;

    fn deref(&self) -> &DestinationCounts {
        &self.counts
    }
}
