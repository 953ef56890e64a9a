//! Which requests a route takes, as Envoy has it.

use contract::system::{Fits, ValueMatch};
use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};

use crate::mesh::{HeaderCondition, PathMatch, Requests};
use crate::xds::build::{no, pack};

pub(super) fn requests(requests: &Requests) -> RouteMatch {
    let is_any_case =
        matches!(requests.path, PathMatch::ExactAnyCase(_) | PathMatch::PrefixAnyCase(_));
    RouteMatch {
        path_specifier: Some(path_specifier(&requests.path)),
        case_sensitive: if is_any_case { no() } else { None },
        headers: requests.headers.iter().flat_map(header_matchers).collect(),
        query_parameters: requests.query.iter().map(|(name, is)| parameter(name, is)).collect(),
        ..Default::default()
    }
}

/// `/orders` takes whole path segments (Envoy's `path_separated_prefix`, which may not end with a slash).
fn path_specifier(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) | PathMatch::ExactAnyCase(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Prefix(prefix) | PathMatch::PrefixAnyCase(prefix) if prefix.ends_with('/') => {
            PathSpecifier::Prefix(prefix.clone())
        }
        PathMatch::Prefix(prefix) | PathMatch::PrefixAnyCase(prefix) => {
            PathSpecifier::PathSeparatedPrefix(prefix.clone())
        }
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(expression(regex)),
        PathMatch::Template(template) => PathSpecifier::PathMatchPolicy(TypedExtensionConfig {
            name: "envoy.path.match.uri_template.uri_template_matcher".to_owned(),
            typed_config: Some(pack(&UriTemplateMatchConfig { path_template: template.clone() })),
        }),
    }
}

fn header_matchers(condition: &HeaderCondition) -> Vec<HeaderMatcher> {
    match condition {
        HeaderCondition::OneOf(name, values) => {
            let pattern = match values.as_slice() {
                [value] => MatchPattern::Exact(value.clone()),
                // Method names: few, short, and nothing in them means anything in an expression.
                values => MatchPattern::SafeRegex(expression(&values.join("|"))),
            };
            vec![header(name, HeaderMatchSpecifier::StringMatch(text(pattern)))]
        }
        // One matcher for each value: an expression of many would be larger than Envoy takes.
        HeaderCondition::NoneOf(name, values) => values
            .iter()
            .map(|value| HeaderMatcher {
                invert_match: true,
                treat_missing_header_as_empty: true,
                ..header(
                    name,
                    HeaderMatchSpecifier::StringMatch(text(MatchPattern::Exact(value.clone()))),
                )
            })
            .collect(),
        HeaderCondition::Is(name, is) => {
            let specifier = match string_matcher(is) {
                Ok(matcher) => HeaderMatchSpecifier::StringMatch(matcher),
                Err(is_present) => HeaderMatchSpecifier::PresentMatch(is_present),
            };
            vec![header(name, specifier)]
        }
    }
}

fn header(name: &str, specifier: HeaderMatchSpecifier) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(specifier),
        ..Default::default()
    }
}

fn parameter(name: &str, is: &ValueMatch) -> QueryParameterMatcher {
    let specifier = match string_matcher(is) {
        Ok(matcher) => QueryParameterMatchSpecifier::StringMatch(matcher),
        Err(is_present) => QueryParameterMatchSpecifier::PresentMatch(is_present),
    };
    QueryParameterMatcher {
        name: name.to_owned(),
        query_parameter_match_specifier: Some(specifier),
    }
}

/// A condition on a value, or on its presence alone.
fn string_matcher(is: &ValueMatch) -> Result<StringMatcher, bool> {
    match is {
        ValueMatch::Present(is_present) => Err(*is_present),
        ValueMatch::Exact(value) => Ok(text(MatchPattern::Exact(value.clone()))),
        ValueMatch::Fits(Fits::Prefix(prefix)) => Ok(text(MatchPattern::Prefix(prefix.clone()))),
        ValueMatch::Fits(Fits::Regex(regex)) => {
            Ok(text(MatchPattern::SafeRegex(expression(regex))))
        }
    }
}

fn text(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { match_pattern: Some(pattern), ..Default::default() }
}

fn expression(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..Default::default() }
}
