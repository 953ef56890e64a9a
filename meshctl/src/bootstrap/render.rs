//! The Envoy bootstrap as a value: node, admin, ADS, and the static clusters and listeners it needs.
//!
//! In: a checked [`Spec`]. Out: JSON, which Envoy reads as YAML too. Called by [`super::run`].
//!
//! **Invariants**: no deprecated field of Envoy 1.40; the admin interface is bound to loopback and reached from outside
//! only through two exact paths; nothing here depends on the mesh's state.

use std::net::IpAddr;

use contract::node::NodeMetadata;
use serde_json::{Value, json};

use super::Endpoint;

/// Downstream connections that one Envoy accepts before it refuses more: far above a sidecar's need, and a bound on memory.
const MAX_DOWNSTREAM_CONNECTIONS: u32 = 50_000;

/// What a bootstrap is made from.
#[derive(Debug)]
pub struct Spec {
    /// `node.id`.
    pub id: String,
    /// `node.cluster`.
    pub cluster: String,
    /// `node.metadata.mesh`.
    pub mesh: NodeMetadata,
    /// Port of the statistics listener.
    pub stats: Option<u16>,
    /// Loopback ports at which the application finds the host's agent.
    pub spans: Vec<u16>,
    /// Loopback port of the admin interface.
    pub admin: u16,
    /// xDS addresses of the control planes; at least one.
    pub control_planes: Vec<Endpoint>,
    /// State of the world in place of delta.
    pub is_sotw: bool,
}

/// Builds the bootstrap.
///
/// # Errors
/// When the metadata has no JSON form, which its type excludes.
pub fn bootstrap(spec: &Spec) -> Result<Value, serde_json::Error> {
    let mut listeners: Vec<Value> =
        spec.stats.map(|port| statistics_listener(spec, port)).into_iter().collect();
    listeners.extend(spec.spans.iter().map(|port| spans_listener(spec, *port)));
    let mut clusters = vec![control_plane(&spec.control_planes), envoy_admin(spec.admin)];
    clusters.extend(spec.mesh.host.zip(spec.mesh.agent).map(|(host, port)| host_agent(host, port)));
    Ok(json!({
        "node": {
            "id": spec.id,
            "cluster": spec.cluster,
            "metadata": { "mesh": serde_json::to_value(&spec.mesh)? },
        },
        "admin": {
            "address": socket_address("127.0.0.1", spec.admin),
            "ignore_global_conn_limit": true,
        },
        "dynamic_resources": dynamic_resources(spec.is_sotw),
        "static_resources": {
            "clusters": clusters,
            "listeners": listeners,
        },
        "overload_manager": {
            "resource_monitors": [{
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS,
                },
            }],
        },
    }))
}

/// One stream for all types; a lost control plane is replaced within seconds.
fn dynamic_resources(is_sotw: bool) -> Value {
    let source = json!({ "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "15s" });
    json!({
        "ads_config": {
            "api_type": if is_sotw { "GRPC" } else { "DELTA_GRPC" },
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{
                "envoy_grpc": {
                    "cluster_name": "control-plane",
                    "retry_policy": {
                        "retry_back_off": { "base_interval": "0.5s", "max_interval": "5s" },
                    },
                },
            }],
        },
        "cds_config": source,
        "lds_config": source,
    })
}

fn control_plane(replicas: &[Endpoint]) -> Value {
    let endpoints: Vec<Value> =
        replicas.iter().map(|replica| endpoint(&replica.host, replica.port)).collect();
    json!({
        "name": "control-plane",
        "type": if replicas.iter().any(Endpoint::is_name) { "STRICT_DNS" } else { "STATIC" },
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "control-plane",
            "endpoints": [{ "lb_endpoints": endpoints }],
        },
        "upstream_connection_options": {
            "tcp_keepalive": {
                "keepalive_time": 10, "keepalive_interval": 5, "keepalive_probes": 3,
            },
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": { "interval": "30s", "timeout": "5s" },
                    },
                },
            },
        },
    })
}

fn envoy_admin(port: u16) -> Value {
    json!({
        "name": "envoy-admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "envoy-admin",
            "endpoints": [{ "lb_endpoints": [endpoint("127.0.0.1", port)] }],
        },
    })
}

/// Where spans go: the agent speaks HTTP/2 for every protocol that it takes.
fn host_agent(host: IpAddr, port: u16) -> Value {
    json!({
        "name": "host-agent",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "host-agent",
            "endpoints": [{ "lb_endpoints": [endpoint(&host.to_string(), port)] }],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": { "interval": "30s", "timeout": "5s" },
                    },
                },
            },
        },
    })
}

/// The agent on the application's loopback. Whose spans they are is written here, whatever the application says.
fn spans_listener(spec: &Spec, port: u16) -> Value {
    json!({
        "name": format!("spans:{port}"),
        "address": socket_address("127.0.0.1", port),
        "traffic_direction": "OUTBOUND",
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "spans",
                    "route_config": {
                        "name": "spans",
                        "request_headers_to_add": [{
                            "header": { "key": "x-mesh-instance", "value": spec.id.replace('%', "%%") },
                            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                        }],
                        "virtual_hosts": [{
                            "name": "spans",
                            "domains": ["*"],
                            "routes": [{
                                "match": { "prefix": "/" },
                                "route": { "cluster": "host-agent", "timeout": "30s" },
                            }],
                        }],
                    },
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                        },
                    }],
                },
            }],
        }],
    })
}

/// What may be seen from outside: counters and readiness. Health checks must pass when the connection limit is reached.
fn statistics_listener(spec: &Spec, port: u16) -> Value {
    let routes: Vec<Value> = ["/stats/prometheus", "/ready"]
        .iter()
        .map(|path| json!({ "match": { "path": path }, "route": { "cluster": "envoy-admin" } }))
        .collect();
    json!({
        "name": "statistics",
        "address": socket_address(&spec.mesh.bind.to_string(), port),
        "ignore_global_conn_limit": true,
        "filter_chains": [{
            "filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                    "stat_prefix": "statistics",
                    "normalize_path": true,
                    "merge_slashes": true,
                    "route_config": {
                        "name": "statistics",
                        "virtual_hosts": [{ "name": "statistics", "domains": ["*"], "routes": routes }],
                    },
                    "http_filters": [{
                        "name": "envoy.filters.http.router",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
                        },
                    }],
                },
            }],
        }],
    })
}

fn endpoint(host: &str, port: u16) -> Value {
    json!({ "endpoint": { "address": socket_address(host, port) } })
}

fn socket_address(address: &str, port: u16) -> Value {
    json!({ "socket_address": { "address": address, "port_value": port } })
}
