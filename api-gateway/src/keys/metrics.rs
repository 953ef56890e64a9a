//! What is known about keys, read from the table at each scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::sync::watch;

use super::KeyTable;

/// Metrics of the keys.
#[derive(Debug)]
pub struct KeyMetrics {
    /// The table.
    pub table: watch::Receiver<Arc<KeyTable>>,
}

impl Collector for KeyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let table = self.table.borrow().clone();
        let stale = table.failing_since.map_or(0, |since| since.elapsed().as_secs());
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: i64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        gauge(
            "mesh_keys_read",
            "Whether API keys were read (1) or never (0)",
            None,
            i64::from(table.is_read),
        )?;
        gauge(
            "mesh_keys",
            "API keys known, those revoked and expired included",
            None,
            count(table.len()),
        )?;
        gauge(
            "mesh_keys_rejected",
            "Records of API keys that cannot be read",
            None,
            count(table.rejected.len()),
        )?;
        gauge(
            "mesh_keys_stale",
            "Time since Consul last answered for API keys; 0 while it answers",
            Some(&Unit::Seconds),
            i64::try_from(stale).unwrap_or(i64::MAX),
        )
    }
}
