//! The application's word on requests that Envoy cannot judge.

use std::time::Duration;

use contract::gateway::RouteAdmission;
use contract::name::ServiceName;
use envoy_types::pb::envoy::config::core::v3::{ApiVersion, GrpcService, grpc_service};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz::Services;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    CheckSettings, ExtAuthz, ExtAuthzPerRoute,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::Any;

use super::{jwt, off};
use crate::mesh::{Guard, Target};
use crate::xds::build::{duration, pack};

const NAME: &str = "envoy.filters.http.ext_authz";
/// The application is on the same host and does no IO for an answer.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The filter of the listener for the Router. Without an answer nobody passes.
pub(super) fn filter(app: &ServiceName) -> HttpFilter {
    let service = GrpcService {
        timeout: Some(duration(TIMEOUT)),
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(grpc_service::EnvoyGrpc {
            cluster_name: Target::App(app.clone()).to_string(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let config = ExtAuthz {
        transport_api_version: ApiVersion::V3.into(),
        failure_mode_allow: false,
        status_on_error: Some(HttpStatus { code: 503 }),
        metadata_context_namespaces: vec![jwt::NAME.to_owned()],
        services: Some(Services::GrpcService(service)),
        ..Default::default()
    };
    off(super::filter(NAME, &config))
}

/// What the application is told of a route.
pub(super) fn of(guard: &Guard) -> (&'static str, Any) {
    // The application refuses what it cannot read, and a value that cannot be written reads as nothing.
    let asked = serde_json::to_string(&guard.for_application()).unwrap_or_default();
    let settings = CheckSettings {
        // One entry: the order of the map cannot reach the bytes.
        context_extensions: [(RouteAdmission::CONTEXT.to_owned(), asked)].into(),
        ..Default::default()
    };
    (NAME, pack(&ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) }))
}
