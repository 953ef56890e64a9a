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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
    use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
    use prometheus_client::encoding::text::encode;
    use tokio::sync::watch;

    use super::*;
    use crate::authz::{Authz, AuthzMetrics};
    use crate::keys::KeyMetrics;
    use crate::schema::{DescriptorFolder, Limits, Owner, Pace, Reflection, Sources};

    /// All metrics of the program, each family with a series.
    async fn scraped() -> String {
        let limits = Limits::default();
        let egress = "http://127.0.0.1:9".parse().unwrap();
        let sources = Sources {
            reflection: Reflection { egress, limits, deadline: Duration::from_secs(1) },
            folder: DescriptorFolder { path: "/nowhere".into(), limits },
        };
        let (_, schemas) = Owner::new(sources, Pace::default());
        let (_, keys) = watch::channel(Arc::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(SchemaMetrics(schemas)));
        registry.register_collector(Box::new(KeyMetrics { table: keys.clone() }));
        ConversionMetrics::new(&mut registry).count(StatusCode::OK);
        let authz = Authz { keys, metrics: AuthzMetrics::new(&mut registry), clock: || 0 };
        authz.check(tonic::Request::new(CheckRequest::default())).await.unwrap();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[tokio::test]
    async fn the_document_has_every_metric_and_no_other() {
        let text = scraped().await;
        let (mut helps, mut kinds, mut rows) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            match line.splitn(4, ' ').collect::<Vec<_>>().as_slice() {
                ["#", "HELP", name, help] => drop(helps.insert(*name, help.trim_end_matches('.'))),
                ["#", "TYPE", name, kind] => drop(kinds.insert(*name, *kind)),
                ["#", ..] => {}
                [series, ..] => {
                    let (name, label) = series.split_once('{').unwrap_or((series, ""));
                    let label = label.split_once('=').map(|(label, _)| format!("`{label}`"));
                    let family = name.strip_suffix("_total").unwrap_or(name);
                    let (kind, help) = (kinds[family], helps[family]);
                    let label = label.unwrap_or_default();
                    rows.insert(name, format!("| `{name}` | {kind} | {label} | {help} |"));
                }
                [] => {}
            }
        }
        let rows: Vec<String> = rows.into_values().collect();
        let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/gateway.md");
        let document = std::fs::read_to_string(document).unwrap();
        let written: Vec<&str> =
            document.lines().filter(|line| line.starts_with("| `mesh_")).collect();
        assert_eq!(written, rows, "the rows of docs/gateway.md should be\n{}", rows.join("\n"));
    }
}
