//! gRPC-web: browsers' form of gRPC becomes gRPC, by its content type; everything else passes as it is.

use envoy_types::pb::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;

pub(super) fn filter() -> HttpFilter {
    super::filter("envoy.filters.http.grpc_web", &GrpcWeb {})
}
