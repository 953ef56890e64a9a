//! LDS: the ports of a proxy.

use std::sync::Arc;
use std::time::Duration;

use contract::registration::Protocol;
use envoy_types::pb::envoy::config::core::v3::{
    Address, Http2ProtocolOptions, HttpProtocolOptions, TrafficDirection, TransportSocket, address,
    socket_address as envoy_socket,
};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType as FilterConfig;
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, Listener, QuicProtocolOptions, UdpListenerConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation,
    UpgradeConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, LocalReplyConfig, Rds,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy, tcp_proxy::ClusterSpecifier,
};

use crate::mesh::{
    Checkpoint, Faces, ListenerKind, ListenerView, Target, Transport, gateway, router,
};
use crate::xds::build::endpoint::socket_address;
use crate::xds::build::{
    access_log, cluster, duration, encode, filters, no, number, pack, route, tls, tracing, yes,
};
use crate::xds::resources::{Encoded, ResourceType};

/// What Envoy answers itself: for which host, and why. The response flag is in the access log.
const LOCAL_REPLY: &str = "%REQ(:AUTHORITY)%: %LOCAL_REPLY_BODY%\n";
/// What a gateway and the Router answer themselves: to the letter what a document says, or a sentence that names the System.
const LITERAL_REPLY: &str = "%LOCAL_REPLY_BODY%";
/// Headers of a request, in KiB and in number: more is answered 431. Proxies add some to what clients send, so that
/// what passes one door passes the next.
const CLIENT_HEADERS: (u32, u32) = (60, 100);
const MESH_HEADERS: (u32, u32) = (96, 200);
/// A client that sends its headers slower than this is cut off.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// A stream without a byte in either direction is given up; long polls and quiet gRPC streams live with that.
const STREAM_IDLE: Duration = Duration::from_secs(300);

/// How a listener serves HTTP.
#[derive(Debug, Clone, Copy)]
pub(super) struct Serving<'a> {
    pub(super) faces: Faces,
    pub(super) transport: &'a Transport,
    /// What is checked of what comes from the Router.
    pub(super) checkpoint: Option<&'a Checkpoint>,
    /// Whether requests wait for clusters that the proxy has yet to ask for.
    pub(super) waits: bool,
    /// Whether spans go to the host's agent.
    pub(super) is_traced: bool,
}

impl Serving<'static> {
    /// Over TCP, with nothing to check or to wait for.
    const fn plain(faces: Faces, is_traced: bool) -> Self {
        Self { faces, transport: &Transport::Plain, checkpoint: None, waits: false, is_traced }
    }
}

/// A listener; with `waits`, the application's requests wait for clusters that the proxy has yet to ask for.
pub fn listener(view: &ListenerView, waits: bool) -> Arc<Encoded> {
    let (filter, direction, clusters) = match &view.kind {
        ListenerKind::Inbound { service, protocol } => {
            let target = Target::App(service.clone()).to_string();
            let filter = match protocol {
                Protocol::Tcp => tcp_filter(&view.name, target.clone()),
                Protocol::Http | Protocol::Http2 | Protocol::Grpc => {
                    let table = route::inbound(&view.name, target.clone());
                    let routes = RouteSpecifier::RouteConfig(table);
                    let serving = Serving::plain(Faces::Proxies, view.is_traced);
                    http_filter(&view.name, routes, &serving)
                }
            };
            (filter, TrafficDirection::Inbound, vec![target])
        }
        ListenerKind::ToHttps(port) => {
            let faces = Faces::Clients { trusted_hops: 0 };
            let routes = RouteSpecifier::RouteConfig(route::to_https(&view.name, *port));
            let filter = http_filter(&view.name, routes, &Serving::plain(faces, false));
            (filter, TrafficDirection::Inbound, vec![])
        }
        ListenerKind::Routed { table, faces, transport, checkpoint } => {
            let routes = RouteSpecifier::Rds(Rds {
                config_source: Some(cluster::ads()),
                route_config_name: table.clone(),
            });
            let direction = match faces {
                Faces::Application => TrafficDirection::Outbound,
                Faces::Proxies | Faces::Clients { .. } => TrafficDirection::Inbound,
            };
            let waits = waits && *faces == Faces::Application;
            let checkpoint = checkpoint.as_deref();
            let app = checkpoint.and_then(|checkpoint| checkpoint.app.clone());
            let clusters = app.into_iter().map(|app| Target::App(app).to_string()).collect();
            let is_traced = view.is_traced;
            let serving = Serving { faces: *faces, transport, checkpoint, waits, is_traced };
            (http_filter(&view.name, routes, &serving), direction, clusters)
        }
        ListenerKind::Tcp { target } => {
            let target = target.to_string();
            (tcp_filter(&view.name, target.clone()), TrafficDirection::Outbound, vec![target])
        }
    };
    let message = Listener {
        name: view.name.clone(),
        address: Some(bound(view)),
        filter_chains: vec![FilterChain {
            filters: vec![filter],
            transport_socket: transport_socket(&view.kind),
            ..Default::default()
        }],
        udp_listener_config: udp(&view.kind),
        traffic_direction: direction.into(),
        ..Default::default()
    };
    let clusters = clusters.into_iter().map(Into::into).collect();
    encode(ResourceType::Listener, view.name.as_str().into(), &message, clusters)
}

fn bound(view: &ListenerView) -> Address {
    let mut address = socket_address(&view.address.ip().to_string(), view.address.port());
    if let (Some(address::Address::SocketAddress(socket)), Some(_)) =
        (&mut address.address, udp(&view.kind))
    {
        socket.protocol = envoy_socket::Protocol::Udp.into();
    }
    address
}

fn transport_socket(kind: &ListenerKind) -> Option<TransportSocket> {
    match kind {
        ListenerKind::Routed { transport: Transport::Tls { certificates, .. }, .. } => {
            Some(tls::tcp(certificates))
        }
        ListenerKind::Routed { transport: Transport::Quic { certificates }, .. } => {
            Some(tls::quic(certificates))
        }
        _ => None,
    }
}

fn udp(kind: &ListenerKind) -> Option<UdpListenerConfig> {
    matches!(kind, ListenerKind::Routed { transport: Transport::Quic { .. }, .. }).then(|| {
        UdpListenerConfig {
            quic_options: Some(QuicProtocolOptions::default()),
            ..Default::default()
        }
    })
}

fn tcp_filter(listener: &str, cluster: String) -> Filter {
    let proxy = TcpProxy {
        stat_prefix: stat_prefix(listener),
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        access_log: access_log::tcp(listener),
        ..Default::default()
    };
    Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(FilterConfig::TypedConfig(pack(&proxy))),
    }
}

/// What a listener's filters are told apart from it, so that connections live on when it changes.
pub fn extensions(view: &ListenerView) -> Vec<Arc<Encoded>> {
    match &view.kind {
        ListenerKind::Routed { checkpoint: Some(checkpoint), .. } => {
            filters::extensions(checkpoint)
        }
        ListenerKind::Routed { checkpoint: None, .. }
        | ListenerKind::Inbound { .. }
        | ListenerKind::ToHttps(_)
        | ListenerKind::Tcp { .. } => vec![],
    }
}

/// Who answers at an HTTP listener, by its route table.
#[derive(Debug, Clone, Copy)]
struct Door {
    /// The Router brings clients here.
    is_ingress: bool,
    /// Other Systems come here.
    is_mesh: bool,
    /// A document's own answers pass here, which nothing is added to.
    is_literal: bool,
}

impl Door {
    fn of(routes: &RouteSpecifier) -> Self {
        let table = match routes {
            RouteSpecifier::Rds(rds) => rds.route_config_name.as_str(),
            RouteSpecifier::RouteConfig(_) | RouteSpecifier::ScopedRoutes(_) => "",
        };
        let literal = [
            gateway::INGRESS_TABLE,
            gateway::MESH_TABLE,
            gateway::APPLICATION_TABLE,
            router::TABLE,
        ];
        Self {
            is_ingress: table == gateway::INGRESS_TABLE,
            is_mesh: table == gateway::MESH_TABLE,
            is_literal: literal.contains(&table),
        }
    }
}

fn http_filter(listener: &str, routes: RouteSpecifier, serving: &Serving<'_>) -> Filter {
    let (faces_clients, trusted_hops) = match serving.faces {
        Faces::Clients { trusted_hops } => (true, trusted_hops),
        Faces::Application | Faces::Proxies => (false, 0),
    };
    let (header_kib, header_count) = if faces_clients { CLIENT_HEADERS } else { MESH_HEADERS };
    let is_quic = matches!(serving.transport, Transport::Quic { .. });
    let Door { is_ingress, is_mesh, is_literal } = Door::of(&routes);
    // Where admissions are decided, a path has one spelling. Inside, keys may hold escaped slashes.
    let escaped_slashes = match faces_clients || is_ingress {
        true => PathWithEscapedSlashesAction::RejectRequest,
        false => PathWithEscapedSlashesAction::KeepUnchanged,
    };
    let manager = HttpConnectionManager {
        stat_prefix: stat_prefix(listener),
        codec_type: if is_quic { CodecType::Http3 } else { CodecType::Auto }.into(),
        route_specifier: Some(routes),
        http_filters: filters::chain(serving, is_ingress),
        access_log: access_log::http(listener),
        tracing: serving.is_traced.then(tracing::of_listener),
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..Default::default()
        }],
        local_reply_config: Some(LocalReplyConfig {
            mappers: match (serving.checkpoint, is_mesh) {
                (Some(_), _) => filters::refusals::mappers(),
                (None, true) => vec![filters::loops::mapper()],
                (None, false) => vec![],
            },
            body_format: Some(filters::refusals::body(if is_literal {
                LITERAL_REPLY
            } else {
                LOCAL_REPLY
            })),
        }),
        // Where clients connect, the peer is the client; inside, the Router's word is taken.
        use_remote_address: if faces_clients { yes() } else { no() },
        skip_xff_append: !faces_clients,
        xff_num_trusted_hops: trusted_hops,
        generate_request_id: yes(),
        preserve_external_request_id: true,
        always_set_request_id_in_response: faces_clients,
        normalize_path: yes(),
        merge_slashes: true,
        path_with_escaped_slashes_action: escaped_slashes.into(),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        max_request_headers_kb: number(header_kib),
        request_headers_timeout: Some(duration(HEADERS_TIMEOUT)),
        stream_idle_timeout: Some(duration(STREAM_IDLE)),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(Duration::from_secs(3600))),
            max_headers_count: number(header_count),
            ..Default::default()
        }),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: number(1000),
            ..Default::default()
        }),
        http3_protocol_options: is_quic.then(Default::default),
        ..Default::default()
    };
    Filter {
        name: "envoy.filters.network.http_connection_manager".to_owned(),
        config_type: Some(FilterConfig::TypedConfig(pack(&manager))),
    }
}

/// Statistics are cut at dots and hold colons badly.
fn stat_prefix(listener: &str) -> String {
    listener.replace([':', '.'], "_")
}
