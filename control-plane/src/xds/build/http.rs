//! HTTP options of connections to targets: protocol, idle times, keepalive.

use std::time::Duration;

use contract::registration::Protocol;
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as CommonOptions,
    KeepaliveSettings,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, UpstreamProtocolOptions, UseDownstreamHttpConfig, explicit_http_config,
};

use crate::mesh::Target;
use crate::xds::build::duration;

/// Applications close idle connections, many after five seconds; a request sent at that moment would be lost.
const APP_IDLE: Duration = Duration::from_secs(4);
/// Envoy keeps a client's idle connection for an hour, so the calling side lets go first.
const PROXY_IDLE: Duration = Duration::from_secs(60);

/// Options of a cluster's connections. `protocol` is `None` where whatever the caller speaks is spoken on.
pub(super) fn options(target: &Target, protocol: Option<Protocol>) -> HttpProtocolOptions {
    let idle = if matches!(target, Target::App(_)) { APP_IDLE } else { PROXY_IDLE };
    let http1 = Http1ProtocolOptions::default();
    let explicit = |config| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })
    };
    let upstream = match protocol {
        Some(Protocol::Http2 | Protocol::Grpc) => {
            explicit(explicit_http_config::ProtocolConfig::Http2ProtocolOptions(http2()))
        }
        Some(Protocol::Http | Protocol::Tcp) => {
            explicit(explicit_http_config::ProtocolConfig::HttpProtocolOptions(http1))
        }
        None => UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(http1),
            http2_protocol_options: Some(http2()),
            http3_protocol_options: None,
        }),
    };
    HttpProtocolOptions {
        common_http_protocol_options: Some(CommonOptions {
            idle_timeout: Some(duration(idle)),
            ..Default::default()
        }),
        upstream_protocol_options: Some(upstream),
        ..Default::default()
    }
}

/// A peer that vanished is noticed after 35 seconds even without traffic.
fn http2() -> Http2ProtocolOptions {
    Http2ProtocolOptions {
        connection_keepalive: Some(KeepaliveSettings {
            interval: Some(duration(Duration::from_secs(30))),
            timeout: Some(duration(Duration::from_secs(5))),
            ..Default::default()
        }),
        ..Default::default()
    }
}
