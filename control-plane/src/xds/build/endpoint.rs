//! EDS: the addresses of one cluster.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{
    Address, HealthStatus, SocketAddress, address, socket_address,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as EndpointMessage, LbEndpoint, LocalityLbEndpoints,
    lb_endpoint,
};

use crate::catalog::Health;
use crate::mesh::Endpoint;
use crate::xds::build::{encode, number};
use crate::xds::resources::{Encoded, ResourceName, ResourceType};

/// The assignment of a cluster; with no endpoint it is empty, never absent, so that Envoy drains to zero.
pub fn assignment(cluster: &ResourceName, endpoints: &[Endpoint]) -> Arc<Encoded> {
    let message = load_assignment(cluster, endpoints.iter().map(lb_endpoint).collect());
    encode(ResourceType::Endpoints, cluster.clone(), &message, Arc::from([]))
}

/// An assignment of one locality.
pub(super) fn load_assignment(cluster: &str, endpoints: Vec<LbEndpoint>) -> ClusterLoadAssignment {
    let locality = LocalityLbEndpoints { lb_endpoints: endpoints, ..Default::default() };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: if locality.lb_endpoints.is_empty() { vec![] } else { vec![locality] },
        ..Default::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint) -> LbEndpoint {
    address_endpoint(&endpoint.address.to_string(), endpoint.port, endpoint.health, endpoint.weight)
}

/// One address; a host name only in clusters that resolve names.
///
/// Healthy and a weight of 1 are left out: Envoy takes an unknown health for healthy and an absent weight for 1, and
/// they would be a sixth of what an event sends to every proxy.
pub(super) fn address_endpoint(host: &str, port: u16, health: Health, weight: u32) -> LbEndpoint {
    let endpoint =
        EndpointMessage { address: Some(socket_address(host, port)), ..Default::default() };
    LbEndpoint {
        health_status: match health {
            Health::Healthy => HealthStatus::Unknown,
            Health::Draining => HealthStatus::Draining,
            Health::Unhealthy => HealthStatus::Unhealthy,
        }
        .into(),
        load_balancing_weight: if weight == 1 { None } else { number(weight) },
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)),
        ..Default::default()
    }
}

/// A TCP address.
pub(super) fn socket_address(host: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: host.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..Default::default()
        })),
    }
}
