//! A load balancer before proxies that nobody takes out of a registry: Routers.
//!
//! In: where each listens, and where its `/ready` answers. Out: an Envoy that asks there ten times a second and sends each
//! request once, to one that is ready. Called by tests of stops.
//!
//! **Invariant**: nothing is tried again: what a stop behind it cuts is a lost request.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::envoy::Envoy;
use crate::{LabError, ports, wait};

const HEALTHY_DEADLINE: Duration = Duration::from_secs(20);

/// A proxy behind it, on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub struct Behind {
    /// Where requests go.
    pub port: u16,
    /// Where `/ready` answers.
    pub ready: u16,
}

/// A running load balancer.
#[derive(Debug)]
pub struct Balancer {
    envoy: Envoy,
    address: SocketAddr,
    /// How many are behind it.
    all: u64,
}

impl Balancer {
    /// Starts it, and waits until it has found all of them ready.
    pub async fn start(
        binary: &Path,
        name: &str,
        dir: &Path,
        behind: &[Behind],
    ) -> Result<Self, LabError> {
        let (admin, port) = (ports::reserve()?, ports::reserve()?);
        let config = config(admin, port, behind).to_string();
        let mut envoy = Envoy::start(binary, name, dir, &config, admin, None)?;
        envoy.wait_live().await?;
        let all = u64::try_from(behind.len()).unwrap_or(u64::MAX);
        let balancer = Self { envoy, address: (Ipv4Addr::LOCALHOST, port).into(), all };
        balancer.until_all_ready().await?;
        Ok(balancer)
    }

    /// Waits until it has found all of them ready.
    pub async fn until_all_ready(&self) -> Result<(), LabError> {
        let all = self.all;
        wait::until("everything behind the load balancer is ready", HEALTHY_DEADLINE, async || {
            match self.envoy.sum("^cluster.behind.membership_healthy$").await {
                Ok(healthy) if healthy == all => Ok(()),
                Ok(healthy) => Err(format!("{healthy} of {all}")),
                Err(error) => Err(crate::chain(&error)),
            }
        })
        .await
    }

    /// Where its clients connect.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        self.envoy.stop().await
    }
}

fn config(admin: u16, port: u16, behind: &[Behind]) -> Value {
    let address = |port| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let endpoint = |one: &Behind| {
        json!({"endpoint": {
            "address": address(one.port),
            "health_check_config": {"port_value": one.ready},
        }})
    };
    let endpoints: Vec<Value> = behind.iter().map(endpoint).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "balancer",
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }],
        "route_config": {"virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "behind"}}],
        }]},
    });
    json!({
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [{
                "name": "balancer",
                "address": address(port),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }]}],
            }],
            "clusters": [{
                "name": "behind",
                "type": "STATIC",
                // HTTP/2 goes on as HTTP/2: gRPC's trailers are lost otherwise.
                "typed_extension_protocol_options": {
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                        "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
                    },
                },
                // Without it an Envoy that finds nobody ready sends to everybody.
                "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
                "health_checks": [{
                    "timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s",
                    // An answer that says no counts at once; silence three times: a busy machine is not an outage.
                    "unhealthy_threshold": 3, "healthy_threshold": 1,
                    "http_health_check": {"path": "/ready"},
                }],
                "load_assignment": {
                    "cluster_name": "behind",
                    "endpoints": [{"lb_endpoints": endpoints}],
                },
            }],
        },
    })
}
