//! What of a Forward destination is counted and told.
//!
//! In: what happens to connections and parcels, through [`ForwardOutput`]. Out: metrics and log lines: aloud when something
//! changes for an operator, quietly when it stays as it is.

use std::sync::Arc;

use service::ErrorChain;
use tracing::{debug, info, warn};

use super::ForwardOutput;
use super::dispatcher::Closing;
use super::lane::LaneError;
use super::servers::Health;
use crate::logs::deliver::Outcome;
use crate::logs::deliver::metrics::ServerMetrics;

/// A server, as it is shown.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: Arc<str>,
    pub(super) metrics: ServerMetrics,
    /// What the last connection broke with.
    pub(super) last_error: String,
}

impl ForwardOutput {
    /// Counts and tells a failure: aloud when the server was up until then.
    pub(super) fn failed(
        &mut self,
        index: usize,
        closing: Closing,
        why: &LaneError,
        before: Health,
        after: Health,
    ) {
        let Some(server) = self.servers.get_mut(index) else { return };
        server.metrics.failures.inc();
        let error = ErrorChain(why).to_string();
        let destination = &*self.context.name;
        match (before, after) {
            (Health::Unknown | Health::Up, Health::Down | Health::Parole) => {
                warn!(destination, server = %server.name, error, "Server is down");
            }
            (Health::Up, _) => info!(destination, server = %server.name, error, "Connection lost"),
            _ => debug!(destination, server = %server.name, error, "Server is still down"),
        }
        if closing != Closing::Unreachable {
            server.last_error = error;
        }
    }

    pub(super) fn count(&self, outcome: &Outcome) {
        let metrics = &self.context.metrics;
        let delivered = if self.config.require_ack { &metrics.acked } else { &metrics.unconfirmed };
        delivered.inc_by(outcome.delivered.into());
        metrics.dead.inc_by(outcome.dead.into());
    }

    /// Sets the gauges.
    pub(super) fn show(&self) {
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        let metrics = &self.context.metrics;
        let (parcels, bytes) = self.dispatcher.size();
        metrics.in_flight_messages.set(gauge(parcels));
        metrics.in_flight_bytes.set(gauge(bytes));
        metrics.suspects.set(gauge(self.dispatcher.suspects()));
        for (index, server) in self.servers.iter().enumerate() {
            let is_up = self.dispatcher.health(index) == Health::Up;
            server.metrics.up.set(is_up.into());
        }
    }
}
