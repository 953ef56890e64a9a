//! Metrics of the catalog, read from its newest state at each scrape; the streams' own are in `xds/server/metrics.rs`.

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use tokio::sync::watch;

use crate::catalog::Health;
use crate::catalog::run::CatalogState;
use crate::mesh::{MeshModel, explain};

/// Reads the catalog at scrape time: there is nothing to keep in step.
#[derive(Debug)]
pub struct CatalogMetrics {
    /// The catalog.
    pub state: watch::Receiver<CatalogState>,
    /// The mesh, for its problems.
    pub model: watch::Receiver<Arc<MeshModel>>,
    /// The start of the process, from which sources count.
    pub started: Instant,
}

impl Collector for CatalogMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let state = self.state.borrow().clone();
        let snapshot = &state.snapshot;
        let mut gauge = |name: &str, help: &str, value: usize| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge(
            "mesh_ready",
            "Whether xDS is served (1) or refused (0)",
            usize::from(state.readiness.is_ready()),
        )?;
        gauge("mesh_catalog_systems", "Systems known", snapshot.systems.len())?;
        gauge("mesh_catalog_services", "Services of the mesh", snapshot.services().count())?;
        gauge(
            "mesh_catalog_problems",
            "Registrations and documents rejected, held back or in conflict, as meshctl get problems lists them",
            explain::all_problems(&self.model.borrow().clone()).len(),
        )?;
        let generation = usize::try_from(snapshot.generation).unwrap_or(usize::MAX);
        gauge(
            "mesh_catalog_generation",
            "Counts up with each published catalog of this process",
            generation,
        )?;
        self.encode_instances(&state, &mut encoder)?;
        self.encode_sources(&state, &mut encoder)
    }
}

impl CatalogMetrics {
    fn encode_instances(
        &self,
        state: &CatalogState,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "mesh_catalog_instances",
            "Instances of the mesh by health",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for health in [Health::Healthy, Health::Draining, Health::Unhealthy] {
            let count = state
                .snapshot
                .services()
                .flat_map(|(_, instances)| instances.iter())
                .filter(|instance| instance.health == health)
                .count();
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("health", health.as_str())])?)?;
        }
        Ok(())
    }

    fn encode_sources(
        &self,
        state: &CatalogState,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut family = encoder.encode_descriptor(
            "mesh_source_stale",
            "Time since a source last answered well; 0 while it answers",
            Some(&Unit::Seconds),
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (name, source) in state.snapshot.sources.iter() {
            let stale = source.failing.as_ref().map_or(0, |f| now_ms.saturating_sub(f.1) / 1_000);
            let gauge = ConstGauge::new(i64::try_from(stale).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("source", *name)])?)?;
        }
        Ok(())
    }
}
