//! Metrics of conversions and schemas; those of keys and questions are with them.

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::schema::Schemas;

/// How a converted request ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ended {
    /// The HTTP status; of a stream, the one at its beginning.
    pub status: u16,
}

/// Counts converted requests.
#[derive(Debug, Clone, Default)]
pub struct ConversionMetrics {
    requests: Family<Ended, Counter>,
}

impl ConversionMetrics {
    /// Registers what is counted.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "mesh_gateway_conversions",
            "Requests turned from REST into gRPC, by the HTTP status of the answer",
            metrics.requests.clone(),
        );
        metrics
    }

    /// Counts one request.
    pub fn count(&self, status: StatusCode) {
        self.requests.get_or_create(&Ended { status: status.as_u16() }).inc();
    }
}

/// Reads the schemas at scrape time.
#[derive(Debug)]
pub struct SchemaMetrics(pub Schemas);

impl Collector for SchemaMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.0.snapshot().counts();
        for (name, help, value) in [
            (
                "mesh_gateway_schemas",
                "Conversions whose schema is looked after",
                counts.conversions,
            ),
            ("mesh_gateway_schema_versions", "Versions of schemas that are alive", counts.versions),
            (
                "mesh_gateway_schemas_failing",
                "Conversions whose last look at their source brought nothing",
                counts.failing,
            ),
            (
                "mesh_gateway_schemas_absent",
                "Conversions without any schema: their requests are answered 503",
                counts.absent,
            ),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
