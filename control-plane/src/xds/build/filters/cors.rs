//! CORS: which pages of other origins may call. Without a route's policy everything passes, and browsers keep it to
//! themselves.

use contract::system::{Cors, Method};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{Cors as Filter, CorsPolicy};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use crate::xds::build::{no, pack};

const NAME: &str = "envoy.filters.http.cors";
/// What browsers may do anyway.
const SAFELISTED: [Method; 3] = [Method::Get, Method::Head, Method::Post];

pub(super) fn filter() -> HttpFilter {
    super::filter(NAME, &Filter {})
}

/// A route's policy.
pub(super) fn of_rule(cors: &Cors) -> (String, Any) {
    let methods = if cors.methods.is_empty() { &SAFELISTED[..] } else { &cors.methods };
    let methods: Vec<&str> = methods.iter().map(|method| method.as_str()).collect();
    let seconds = cors.max_age.map(|age| age.as_duration().as_secs().to_string());
    let policy = CorsPolicy {
        allow_origin_string_match: cors.origins.iter().map(|origin| matcher(origin)).collect(),
        allow_methods: methods.join(","),
        allow_headers: cors.headers.join(","),
        expose_headers: cors.expose.join(","),
        max_age: seconds.unwrap_or_default(),
        allow_credentials: Some(BoolValue { value: cors.credentials }),
        // A page that may not call hears so from the gateway, whatever the service would have said.
        forward_not_matching_preflights: no(),
        ..Default::default()
    };
    (NAME.to_owned(), pack(&policy))
}

fn matcher(origin: &str) -> StringMatcher {
    let pattern = Cors::origin_pattern(origin).map_or_else(
        || MatchPattern::Exact(origin.to_owned()),
        |regex| MatchPattern::SafeRegex(RegexMatcher { regex, ..Default::default() }),
    );
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}
