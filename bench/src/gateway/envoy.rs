//! Envoy's configuration: a listener for each way a request can take, and the egress listener.
//!
//! In: ports, keys, the descriptors' file. Out: a bootstrap. Filters are set as `control-plane/src/xds/build/filters/`
//! sets them; what else a gateway's chain holds (headers, limits, compression) is not measured and not here.

use contract::conversion::CONVERT_HEADER;
use contract::gateway::{CONSUMER_HEADER, Proof, RouteAdmission, Way};
use contract::keys::KeyFolder;
use contract::system::Requirement;
use serde_json::{Value, json};

use super::token::{AUDIENCE, ISSUER};

/// Ports on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    /// Envoy's admin interface.
    pub admin: u16,
    /// Envoy: open, with a token, with a key.
    pub auth: u16,
    /// Envoy before the application.
    pub ours: u16,
    /// Envoy's own transcoder.
    pub transcoder: u16,
    /// Envoy before grpc-gateway.
    pub peer: u16,
    /// Envoy's egress listener.
    pub egress: u16,
    /// The application.
    pub app: u16,
    /// grpc-gateway.
    pub peer_app: u16,
    /// The service.
    pub service: u16,
}

/// The header of an API key.
pub(super) const KEY_HEADER: &str = "x-api-key";
/// What the application is to convert.
pub(super) const CONVERSION: &str = "echo echo.v1.Echo";
const JWT: &str = "envoy.filters.http.jwt_authn";
const AUTHZ: &str = "envoy.filters.http.ext_authz";
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// The bootstrap.
///
/// # Errors
/// The application's context has no JSON form.
pub(super) fn bootstrap(
    ports: &Ports,
    jwks: &str,
    folder: &KeyFolder,
    descriptors: &str,
) -> anyhow::Result<String> {
    let convert = json!([{
        "header": {"key": CONVERT_HEADER, "value": CONVERSION},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }]);
    let ours = json!([{
        "match": {"prefix": "/"}, "route": {"cluster": "app"}, "request_headers_to_add": convert,
    }]);
    let listeners = json!([
        listener("auth", ports.auth, &auth_routes(folder)?, vec![tokens(jwks), keys()]),
        listener("ours", ports.ours, &ours, vec![]),
        listener("transcoder", ports.transcoder, &to("service"), vec![transcoder(descriptors)]),
        listener("peer", ports.peer, &to("peer"), vec![]),
        listener("egress", ports.egress, &to("service"), vec![]),
    ]);
    let clusters = json!([
        cluster("app", ports.app),
        cluster("peer", ports.peer_app),
        cluster("service", ports.service),
    ]);
    let bootstrap = json!({
        "admin": {"address": address(ports.admin)},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    });
    Ok(bootstrap.to_string())
}

fn to(cluster: &str) -> Value {
    json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster}}])
}

/// The same request of the same service, open, with a token, with a key.
fn auth_routes(folder: &KeyFolder) -> anyhow::Result<Value> {
    let admission = RouteAdmission {
        system: "bench".parse()?,
        route: "routes[2]".to_owned(),
        ways: vec![Way {
            name: "partners".to_owned(),
            proof: Proof::Key { header: KEY_HEADER.to_owned(), folder: folder.clone() },
        }],
        require: Requirement::default(),
    };
    let asked = serde_json::to_string(&admission)?;
    let token = typed(
        "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
        json!({"requirement_name": "customers"}),
    );
    let key = typed(
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
        json!({"check_settings": {"context_extensions": {RouteAdmission::CONTEXT: asked}}}),
    );
    let route = |header: &str, settings: Value| {
        json!({
            "match": {"prefix": "/", "headers": [{"name": header, "present_match": true}]},
            "route": {"cluster": "service"},
            "typed_per_filter_config": settings,
        })
    };
    Ok(json!([
        route("authorization", json!({JWT: token})),
        route(KEY_HEADER, json!({AUTHZ: key})),
        {"match": {"prefix": "/"}, "route": {"cluster": "service"}},
    ]))
}

fn tokens(jwks: &str) -> Value {
    let provider = json!({
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "require_expiration": true,
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "payload_in_metadata": "customers",
        "failed_status_in_metadata": Way::refusal("customers"),
        "normalize_payload_in_metadata": {"space_delimited_claims": ["scope"]},
        "clock_skew_seconds": 60,
        "claim_to_headers": [{"claim_name": "sub", "header_name": CONSUMER_HEADER}],
        "local_jwks": {"inline_string": jwks},
    });
    let config = json!({
        "bypass_cors_preflight": true,
        "providers": {"customers": provider},
        "requirement_map": {"customers": {"provider_name": "customers"}},
    });
    off(JWT, typed("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", config))
}

fn keys() -> Value {
    let config = json!({
        "transport_api_version": "V3",
        "failure_mode_allow": false,
        "status_on_error": {"code": "ServiceUnavailable"},
        "metadata_context_namespaces": [JWT],
        "grpc_service": {"timeout": "0.5s", "envoy_grpc": {"cluster_name": "app"}},
    });
    off(AUTHZ, typed("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", config))
}

fn off(name: &str, config: Value) -> Value {
    json!({"name": name, "typed_config": config, "disabled": true})
}

fn transcoder(descriptors: &str) -> Value {
    let config = json!({
        "proto_descriptor": descriptors,
        "services": ["echo.v1.Echo"],
        // As the others answer: fields without a value are left out, a line for each message of a stream.
        "print_options": {"stream_newline_delimited": true},
    });
    let kind = "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder";
    json!({"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": typed(kind, config)})
}

fn listener(name: &str, port: u16, routes: &Value, mut filters: Vec<Value>) -> Value {
    let router = typed("envoy.extensions.filters.http.router.v3.Router", json!({}));
    filters.push(json!({"name": "envoy.filters.http.router", "typed_config": router}));
    let manager = json!({
        "stat_prefix": name,
        "codec_type": "AUTO",
        "http_filters": filters,
        "route_config": {
            "name": name,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}],
        },
        "normalize_path": true,
        "merge_slashes": true,
        "generate_request_id": true,
        "preserve_external_request_id": true,
        "server_header_transformation": "PASS_THROUGH",
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "300s",
        "http2_protocol_options": {"max_concurrent_streams": 1000},
    });
    let kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let filter = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": typed(kind, manager),
    });
    json!({"name": name, "address": address(port), "filter_chains": [{"filters": [filter]}]})
}

/// Over HTTP/2, as the control plane connects to applications that speak gRPC.
fn cluster(name: &str, port: u16) -> Value {
    let http2 = json!({"connection_keepalive": {"interval": "30s", "timeout": "5s"}});
    let options =
        typed(HTTP_OPTIONS, json!({"explicit_http_config": {"http2_protocol_options": http2}}));
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s", "lb_policy": "LEAST_REQUEST",
        "typed_extension_protocol_options": {HTTP_OPTIONS: options},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}],
        },
    })
}

fn typed(kind: &str, mut config: Value) -> Value {
    if let Some(fields) = config.as_object_mut() {
        fields.insert("@type".to_owned(), format!("type.googleapis.com/{kind}").into());
    }
    config
}

fn address(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}
