//! Envoy's resources as a test needs them: a cluster, its endpoints, a listener and its routes.

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::google::protobuf::{self, Any};
use prost::{Message, Name};

use super::Source;

fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// Where Envoy gets what a resource refers to.
fn config(source: Source) -> core::ConfigSource {
    use core::config_source::ConfigSourceSpecifier;
    let specifier = match source {
        Source::Ads => ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {}),
        Source::Own(api_type) => ConfigSourceSpecifier::ApiConfigSource(own_stream(api_type)),
    };
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(specifier),
        ..core::ConfigSource::default()
    }
}

fn own_stream(api_type: &str) -> core::ApiConfigSource {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let xds = EnvoyGrpc { cluster_name: "xds".to_owned(), ..EnvoyGrpc::default() };
    let service = core::GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(xds)),
        ..core::GrpcService::default()
    };
    let api_type = core::api_config_source::ApiType::from_str_name(api_type).unwrap();
    core::ApiConfigSource {
        api_type: api_type.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: vec![service],
        ..core::ApiConfigSource::default()
    }
}

fn seconds(seconds: i64) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos: 0 })
}

pub(super) fn eds_cluster(source: Source, name: &str, connect_timeout: i64) -> Vec<u8> {
    let eds = cluster::cluster::DiscoveryType::Eds.into();
    cluster::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(eds)),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: Some(config(source)),
            ..cluster::cluster::EdsClusterConfig::default()
        }),
        connect_timeout: seconds(connect_timeout),
        ..cluster::Cluster::default()
    }
    .encode_to_vec()
}

fn address(port: u16) -> Option<core::Address> {
    let socket = core::SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..core::SocketAddress::default()
    };
    Some(core::Address { address: Some(core::address::Address::SocketAddress(socket)) })
}

pub(super) fn endpoints(name: &str, ports: &[u16]) -> Vec<u8> {
    let lb = ports.iter().map(|port| endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint { address: address(*port), ..endpoint::Endpoint::default() },
        )),
        ..endpoint::LbEndpoint::default()
    });
    let locality = endpoint::LocalityLbEndpoints {
        lb_endpoints: lb.collect(),
        ..endpoint::LocalityLbEndpoints::default()
    };
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![locality],
        ..endpoint::ClusterLoadAssignment::default()
    }
    .encode_to_vec()
}

pub(super) fn routes_to(cluster: &str) -> Vec<u8> {
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..route::RouteAction::default()
    };
    let everything = route::Route {
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..route::RouteMatch::default()
        }),
        action: Some(route::route::Action::Route(action)),
        ..route::Route::default()
    };
    let host = route::VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![everything],
        ..route::VirtualHost::default()
    };
    route::RouteConfiguration {
        name: "egress".to_owned(),
        virtual_hosts: vec![host],
        ..route::RouteConfiguration::default()
    }
    .encode_to_vec()
}

pub(super) fn http_listener(source: Source, port: u16) -> Vec<u8> {
    let rds =
        hcm::Rds { config_source: Some(config(source)), route_config_name: "egress".to_owned() };
    let router = hcm::HttpFilter {
        name: "router".to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
        ..hcm::HttpFilter::default()
    };
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "egress".to_owned(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)),
        http_filters: vec![router],
        ..hcm::HttpConnectionManager::default()
    };
    let filter = listener::Filter {
        name: "http".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(pack(&manager))),
    };
    listener::Listener {
        name: "egress".to_owned(),
        address: address(port),
        filter_chains: vec![listener::FilterChain {
            filters: vec![filter],
            ..listener::FilterChain::default()
        }],
        ..listener::Listener::default()
    }
    .encode_to_vec()
}
