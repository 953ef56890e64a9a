//! Compression of answers: zstd, brotli or gzip, whichever the client prefers; off but where a route turns it on.
//!
//! Envoy's own list of types says what becomes smaller: text, JSON, XML, scripts. Event streams and gRPC are not on it,
//! because a compressor would hold their messages back. Answers too small to gain anything are left as they are.

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::compression::brotli::compressor::v3::Brotli;
use envoy_types::pb::envoy::extensions::compression::gzip::compressor::v3::Gzip;
use envoy_types::pb::envoy::extensions::compression::zstd::compressor::v3::Zstd;
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3::compressor::{
    CommonDirectionConfig, ResponseDirectionConfig,
};
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3::compressor_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::compressor::v3::{
    Compressor, CompressorOverrides, CompressorPerRoute, ResponseDirectionOverrides,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::google::protobuf::Any;

use crate::xds::build::{number, pack};

/// A client that takes several equally gets the first.
const NAMES: [&str; 3] = ["compressor:zstd", "compressor:brotli", "compressor:gzip"];
/// Below this a compressed answer is hardly smaller, and one packet either way.
const SMALLEST: u32 = 1024;
pub(super) fn filters() -> Vec<HttpFilter> {
    NAMES.iter().map(|name| filter(name)).collect()
}

/// What turns them on for a route.
pub(super) fn of_rule() -> impl Iterator<Item = (String, Any)> {
    let response_direction_config = Some(ResponseDirectionOverrides::default());
    let on = CompressorPerRoute {
        r#override: Some(Override::Overrides(CompressorOverrides {
            response_direction_config,
            ..Default::default()
        })),
    };
    NAMES.iter().map(move |name| ((*name).to_owned(), pack(&on)))
}

fn filter(name: &str) -> HttpFilter {
    let (library, config) = match name {
        "compressor:zstd" => ("zstd", pack(&Zstd::default())),
        "compressor:brotli" => ("brotli", pack(&Brotli::default())),
        _ => ("gzip", pack(&Gzip::default())),
    };
    let compressor = Compressor {
        response_direction_config: Some(ResponseDirectionConfig {
            common_config: Some(CommonDirectionConfig {
                min_content_length: number(SMALLEST),
                ..Default::default()
            }),
            ..Default::default()
        }),
        compressor_library: Some(TypedExtensionConfig {
            name: library.to_owned(),
            typed_config: Some(config),
        }),
        choose_first: library == "zstd",
        ..Default::default()
    };
    HttpFilter { disabled: true, ..super::filter(name, &compressor) }
}
