//! What a gateway says of a request that has been in too many Systems: in which.

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, AndFilter, ExtensionFilter, HeaderFilter, extension_filter,
};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::ResponseMapper;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};

use super::refusals;
use crate::mesh::hops::{HOPS, too_many};
use crate::xds::build::pack;

/// Adds to the refusal where the request has been. Nothing else answers such a request with that status.
pub(in crate::xds::build) fn mapper() -> ResponseMapper {
    ResponseMapper {
        filter: Some(all([of_status("508"), of_list()])),
        body_format_override: Some(refusals::body(&format!(
            "%LOCAL_REPLY_BODY% ({HOPS}: %REQ({HOPS})%)\n"
        ))),
        ..Default::default()
    }
}

fn all<const N: usize>(filters: [FilterSpecifier; N]) -> AccessLogFilter {
    let filter = |specifier| AccessLogFilter { filter_specifier: Some(specifier) };
    let filters = filters.map(filter).into();
    filter(FilterSpecifier::AndFilter(AndFilter { filters }))
}

fn of_status(status: &str) -> FilterSpecifier {
    let expression = format!("response.code == {status}");
    FilterSpecifier::ExtensionFilter(ExtensionFilter {
        name: "envoy.access_loggers.extension_filters.cel".to_owned(),
        config_type: Some(extension_filter::ConfigType::TypedConfig(pack(&ExpressionFilter {
            expression,
            ..Default::default()
        }))),
    })
}

fn of_list() -> FilterSpecifier {
    let regex = RegexMatcher { regex: too_many(), ..Default::default() };
    let text =
        StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex)), ..Default::default() };
    FilterSpecifier::HeaderFilter(HeaderFilter {
        header: Some(HeaderMatcher {
            name: HOPS.to_owned(),
            header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(text)),
            ..Default::default()
        }),
    })
}
