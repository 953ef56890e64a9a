//! LDS and CDS for gRPC clients that read xDS themselves. Their routes and endpoints are Envoy's, to the byte.
//!
//! In: names that such a client may call, and clusters. Out: [`Encoded`] resources.
//!
//! **Invariants**: nothing that a gRPC library refuses: it knows few load-balancing policies, and a listener only by
//! the name that is called. What it would ignore (TCP keepalive, HTTP options, ejection by gateway failures) is absent.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, Cluster};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};

use crate::mesh::{ClusterSpec, egress};
use crate::xds::build::{cluster, duration, encode, number, pack};
use crate::xds::resources::{Encoded, ResourceName, ResourceType};

/// What a client that calls `xds:///NAME` asks for first.
pub fn listener(name: &str) -> Arc<Encoded> {
    let manager = HttpConnectionManager {
        stat_prefix: egress::TABLE.to_owned(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(cluster::ads()),
            route_config_name: egress::TABLE.to_owned(),
        })),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
            ..Default::default()
        }],
        ..Default::default()
    };
    let message = Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener { api_listener: Some(pack(&manager)) }),
        ..Default::default()
    };
    encode(ResourceType::Listener, name.into(), &message, Arc::from([]))
}

/// The cluster of a target whose addresses EDS has.
pub fn cluster(spec: &ClusterSpec) -> Arc<Encoded> {
    let name: ResourceName = spec.target.to_string().into();
    let message = Cluster {
        name: name.to_string(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(cluster::ads()),
            service_name: String::new(),
        }),
        connect_timeout: Some(duration(spec.connect_timeout)),
        // Least request is not known to every gRPC library.
        lb_policy: LbPolicy::RoundRobin.into(),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![Thresholds {
                max_requests: number(spec.limits.requests),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    encode(ResourceType::Cluster, name, &message, Arc::from([]))
}
