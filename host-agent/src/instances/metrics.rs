//! What is known about this host's instances, read at each scrape.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::sync::watch;

use super::Instances;

/// Metrics of the instances.
#[derive(Debug)]
pub struct InstancesMetrics {
    /// What is known.
    pub instances: watch::Receiver<Arc<Instances>>,
}

impl Collector for InstancesMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let instances = self.instances.borrow().clone();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let present = instances.present().count();
        let rejected = instances.present().filter(|one| one.registration.is_err()).count();
        let mut family = encoder.encode_descriptor(
            "mesh_agent_instances",
            "Registrations of this host: ok, with meta that cannot be read, or deregistered and still known",
            None,
            MetricType::Gauge,
        )?;
        for (state, value) in [
            ("ok", present - rejected),
            ("bad_meta", rejected),
            ("gone", instances.by_id.len() - present),
        ] {
            let labels = [("state", state)];
            ConstGauge::new(count(value)).encode(family.encode_family(&labels)?)?;
        }
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: i64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        gauge(
            "mesh_agent_instances_read",
            "Whether this host's registrations were read (1) or never (0)",
            None,
            i64::from(instances.is_read),
        )?;
        let stale = instances.failing_since.map_or(0, |since| since.elapsed().as_secs());
        gauge(
            "mesh_agent_instances_stale",
            "Time since Consul's agent last gave a usable answer; 0 while it answers",
            Some(&Unit::Seconds),
            i64::try_from(stale).unwrap_or(i64::MAX),
        )
    }
}
