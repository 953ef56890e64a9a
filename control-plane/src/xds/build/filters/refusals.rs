//! What the listener for the Router says when a filter refuses: why, and with the status that fits.
//!
//! Envoy's filters say little, and some of it with another status than a caller can act on. Each entry finds a refusal
//! by its details, which are in the access log too.

use envoy_types::pb::envoy::config::accesslog::v3::access_log_filter::FilterSpecifier;
use envoy_types::pb::envoy::config::accesslog::v3::{
    AccessLogFilter, ExtensionFilter, extension_filter,
};
use envoy_types::pb::envoy::config::core::v3::substitution_format_string::Format;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, Metadata, SubstitutionFormatString, data_source,
};
use envoy_types::pb::envoy::extensions::access_loggers::filters::cel::v3::ExpressionFilter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::ResponseMapper;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};

use super::rbac::TWO_PROOFS;
use crate::mesh::{Admission, Guard, RouteRule};
use crate::xds::build::{number, pack};

/// The route's metadata that refusals read.
const NAMESPACE: &str = "mesh";
const REQUIRES: &str = "requires";

/// A local answer's body, in Envoy's command language.
pub(in crate::xds::build) fn body(format: &str) -> SubstitutionFormatString {
    SubstitutionFormatString {
        content_type: "text/plain; charset=utf-8".to_owned(),
        format: Some(Format::TextFormatSource(DataSource {
            specifier: Some(data_source::Specifier::InlineString(format.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Refusals of the filters, each with its status if it changes, and its body.
pub(in crate::xds::build) fn mappers() -> Vec<ResponseMapper> {
    let two_proofs = format!("rbac_access_denied_matched_policy[{TWO_PROOFS}]");
    let requires = format!("%METADATA(ROUTE:{NAMESPACE}:{REQUIRES})%");
    let limited =
        format!("too many requests: the limit of %RESP({})%", super::limits::LIMIT_HEADER);
    [
        (
            "Jwks_remote_fetch_is_failed",
            Some(503),
            "the token issuer's keys cannot be fetched, so nobody passes",
        ),
        ("Audiences_in_Jwt_are_not_allowed", Some(401), "%LOCAL_REPLY_BODY%"),
        // A document that changed while the proxy had no stream: the filter hears of it one message before the routes.
        ("Wrong_requirement_name", Some(503), "this gateway's rules are changing: try again"),
        (
            two_proofs.as_str(),
            Some(401),
            "a header that proves who calls was sent twice: send it once",
        ),
        ("rbac_access_denied_matched_policy[none]", None, requires.as_str()),
        (
            "ext_authz_error",
            None,
            "the api-gateway application behind this gateway does not answer, so nobody passes",
        ),
        ("local_rate_limited", None, limited.as_str()),
    ]
    .into_iter()
    .map(|(details, status, text)| ResponseMapper {
        filter: Some(by_details(details)),
        status_code: status.and_then(number),
        body_format_override: Some(body(&format!("%REQ(:AUTHORITY)%: {text}\n"))),
        ..Default::default()
    })
    .collect()
}

/// What a route's refusals say.
pub(in crate::xds::build) fn metadata(rule: &RouteRule) -> Option<Metadata> {
    let Admission::Guarded(guard) = &rule.admission else { return None };
    let is_by_token = !guard.asks_application() && !guard.ways.is_empty();
    is_by_token.then(|| of(guard))
}

/// Maps with one entry each: their order cannot reach the bytes.
fn of(guard: &Guard) -> Metadata {
    let text = Value { kind: Some(Kind::StringValue(guard.describe_requirement())) };
    let fields = Struct { fields: [(REQUIRES.to_owned(), text)].into() };
    Metadata { filter_metadata: [(NAMESPACE.to_owned(), fields)].into(), ..Default::default() }
}

fn by_details(details: &str) -> AccessLogFilter {
    // Nothing in the details that are looked for needs an escape.
    let expression = format!("response.code_details.contains('{details}')");
    AccessLogFilter {
        filter_specifier: Some(FilterSpecifier::ExtensionFilter(ExtensionFilter {
            name: "envoy.access_loggers.extension_filters.cel".to_owned(),
            config_type: Some(extension_filter::ConfigType::TypedConfig(pack(&ExpressionFilter {
                expression,
                ..Default::default()
            }))),
        })),
    }
}
