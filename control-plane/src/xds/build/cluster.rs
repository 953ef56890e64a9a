//! CDS: how a target is connected to. Its addresses are EDS's, except the application's and host names.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use contract::registration::Protocol;
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::{
    Thresholds, thresholds::RetryBudget,
};
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, OutlierDetection, UpstreamConnectionOptions,
};
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, TcpKeepalive, TransportSocket,
    config_source, data_source::Specifier, transport_socket,
};
use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::v3::Percent;
use prost::Name;

use crate::catalog::Health;
use crate::mesh::{CallLimits, ClusterSpec, Discovery, Target, TlsName};
use crate::xds::build::endpoint::{address_endpoint, load_assignment};
use crate::xds::build::{duration, encode, http, no, number, pack};
use crate::xds::resources::{Encoded, ResourceName, ResourceType};

/// How long Envoy waits for a resource before it goes on without; the server answers within milliseconds.
const INITIAL_FETCH: Duration = Duration::from_secs(5);

/// The cluster of a target.
pub fn cluster(spec: &ClusterSpec) -> Arc<Encoded> {
    let name: ResourceName = spec.target.to_string().into();
    let kind = |kind: DiscoveryType| ClusterDiscoveryType::Type(kind.into());
    let (discovery, eds, assignment) = match &spec.discovery {
        Discovery::Endpoints => (kind(DiscoveryType::Eds), Some(eds_config()), None),
        Discovery::Loopback(port) => {
            let app = address_endpoint("127.0.0.1", *port, Health::Healthy, 1);
            (kind(DiscoveryType::Static), None, Some(load_assignment(&name, vec![app])))
        }
        Discovery::HostNames(instances) => {
            let endpoints = instances
                .iter()
                .map(|i| address_endpoint(&i.address, i.port, i.health, i.weight))
                .collect();
            (resolved(), None, Some(load_assignment(&name, endpoints)))
        }
    };
    // A name that does not resolve is no reason to hold up a proxy's start.
    let may_warm_later = matches!(spec.target, Target::Issuer(..));
    let message = Cluster {
        name: name.to_string(),
        cluster_discovery_type: Some(discovery),
        eds_cluster_config: eds,
        load_assignment: assignment,
        connect_timeout: Some(duration(spec.connect_timeout)),
        lb_policy: LbPolicy::LeastRequest.into(),
        circuit_breakers: Some(circuit_breakers(&spec.limits)),
        outlier_detection: spec.outlier.map(outlier_detection),
        upstream_connection_options: Some(tcp_keepalive()),
        wait_for_warm_on_init: may_warm_later.then(no).flatten(),
        transport_socket: spec.tls.as_ref().map(tls),
        // One entry: the order of the map cannot reach the bytes.
        typed_extension_protocol_options: (spec.protocol != Some(Protocol::Tcp))
            .then(|| {
                let options = http::options(&spec.target, spec.protocol);
                (HttpProtocolOptions::full_name(), pack(&options))
            })
            .into_iter()
            .collect(),
        ..Default::default()
    };
    encode(ResourceType::Cluster, name, &message, Arc::from([]))
}

/// TLS to a host outside the mesh: its certificate must have the name, and be signed by an authority that is trusted.
fn tls(name: &TlsName) -> TransportSocket {
    let exact = StringMatcher {
        match_pattern: Some(MatchPattern::Exact(name.host.clone())),
        ..Default::default()
    };
    let is_ip = name.host.parse::<IpAddr>().is_ok();
    let san_type = if is_ip { SanType::IpAddress } else { SanType::Dns };
    let authorities = Specifier::Filename(name.ca_file.clone());
    let validation = CertificateValidationContext {
        trusted_ca: Some(DataSource { specifier: Some(authorities), ..Default::default() }),
        match_typed_subject_alt_names: vec![SubjectAltNameMatcher {
            san_type: san_type.into(),
            matcher: Some(exact),
            ..Default::default()
        }],
        ..Default::default()
    };
    let context = UpstreamTlsContext {
        sni: if is_ip { String::new() } else { name.host.clone() },
        common_tls_context: Some(CommonTlsContext {
            validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
            ..Default::default()
        }),
        ..Default::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack(&context))),
    }
}

/// Every address of every host name is an endpoint. IPv6 only where there is no IPv4: hosts of this mesh are registered
/// with IPv4 addresses as a rule, and `localhost` must not become an address that nobody listens on.
fn resolved() -> ClusterDiscoveryType {
    let dns =
        DnsCluster { dns_lookup_family: DnsLookupFamily::V4Preferred.into(), ..Default::default() };
    ClusterDiscoveryType::ClusterType(CustomClusterType {
        name: "envoy.clusters.dns".to_owned(),
        typed_config: Some(pack(&dns)),
    })
}

/// Where EDS and RDS come from: the stream that brought the resource that asks.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        initial_fetch_timeout: Some(duration(INITIAL_FETCH)),
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource {},
        )),
        ..Default::default()
    }
}

fn eds_config() -> EdsClusterConfig {
    EdsClusterConfig { eds_config: Some(ads()), service_name: String::new() }
}

fn circuit_breakers(limits: &CallLimits) -> CircuitBreakers {
    CircuitBreakers {
        thresholds: vec![Thresholds {
            max_connections: number(limits.connections),
            max_pending_requests: number(limits.pending_requests),
            max_requests: number(limits.requests),
            // A share of the requests under way, so that retries cannot multiply an overload.
            retry_budget: Some(RetryBudget {
                budget_percent: Some(Percent { value: 20.0 }),
                min_retry_concurrency: number(10),
                budget_interval: None,
            }),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Ejects an instance that gives no answer, or 502 to 504, several times in a row.
///
/// An application's own 500 is its answer, not a sign that its instance is broken.
fn outlier_detection((failures, ejection): (u32, Duration)) -> OutlierDetection {
    OutlierDetection {
        consecutive_gateway_failure: number(failures),
        enforcing_consecutive_gateway_failure: number(100),
        enforcing_consecutive_5xx: number(0),
        enforcing_success_rate: number(0),
        interval: Some(duration(Duration::from_secs(5))),
        base_ejection_time: Some(duration(ejection)),
        max_ejection_percent: number(50),
        ..Default::default()
    }
}

/// A host that lost power is noticed after about half a minute.
fn tcp_keepalive() -> UpstreamConnectionOptions {
    UpstreamConnectionOptions {
        tcp_keepalive: Some(TcpKeepalive {
            keepalive_probes: number(3),
            keepalive_time: number(15),
            keepalive_interval: number(5),
        }),
        ..Default::default()
    }
}
