//! Tracing: spans of requests go to the host's agent by OTLP over gRPC.
//!
//! Who begins a trace decides for all of its way: what comes with a `traceparent` follows its flag, in every proxy. So
//! listeners begin none by themselves; the routes at which requests of clients and of applications come in say how many do.
//! The spans' resource says no service: the agent knows whose spans they are by the tag `node_id` that Envoy writes.
//!
//! Envoy's documentation marks this tracer as work in progress, for trusted upstreams, and says that it drops spans which the
//! receiver does not take fast enough.

use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::GrpcService;
use envoy_types::pb::envoy::config::route::v3::Tracing as RouteTracing;
use envoy_types::pb::envoy::config::trace::v3::OpenTelemetryConfig;
use envoy_types::pb::envoy::config::trace::v3::tracing::http::ConfigType;
use envoy_types::pb::envoy::config::trace::v3::tracing::Http as Provider;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::Tracing;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Percent};

use crate::xds::build::{number, pack};

/// The cluster of a traced proxy's bootstrap.
const AGENT: &str = "host-agent";
/// Bytes of a path in a span.
const LONGEST_PATH: u32 = 256;

/// Of a listener.
pub(super) fn of_listener() -> Tracing {
    let config = OpenTelemetryConfig {
        grpc_service: Some(GrpcService {
            target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                cluster_name: AGENT.to_owned(),
                ..Default::default()
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    Tracing {
        client_sampling: Some(Percent { value: 0.0 }),
        random_sampling: Some(Percent { value: 0.0 }),
        overall_sampling: Some(Percent { value: 100.0 }),
        max_path_tag_length: number(LONGEST_PATH),
        provider: Some(Provider {
            name: "envoy.tracers.opentelemetry".to_owned(),
            config_type: Some(ConfigType::TypedConfig(pack(&config))),
        }),
        ..Default::default()
    }
}

/// Of a route at which traces begin.
pub(super) fn of_route(percent: u32) -> RouteTracing {
    let share = |numerator| {
        Some(FractionalPercent { numerator, denominator: DenominatorType::Hundred.into() })
    };
    RouteTracing {
        client_sampling: share(0),
        random_sampling: share(percent),
        overall_sampling: share(100),
        ..Default::default()
    }
}
