//! RDS: a route table as Envoy has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use contract::gateway::CONVERT_HEADER;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HeaderValue, HeaderValueOption, data_source,
};
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, retry_host_predicate,
};
use envoy_types::pb::envoy::config::route::v3::route::Action as RouteActionSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, MaxStreamDuration,
};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HeaderMatcher, RedirectAction, RetryPolicy as EnvoyRetryPolicy, Route,
    RouteAction, RouteConfiguration, RouteMatch, VirtualHost as EnvoyVirtualHost, WeightedCluster,
};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use crate::mesh::{
    Action, CALLER_SERVICE, CALLER_SYSTEM, Caller, Forward, HeaderCondition, PathMatch,
    RetryPolicy, RouteRule, RouteTable, VirtualHost,
};
use crate::xds::build::{duration, encoded, filters, no, number, pack};
use crate::xds::resources::{Encoded, ResourceName, ResourceType};

/// A route table.
pub fn routes(table: &RouteTable) -> Arc<Encoded> {
    let stripped = [CALLER_SYSTEM, CALLER_SERVICE, CONVERT_HEADER];
    let message = RouteConfiguration {
        name: table.name.to_owned(),
        ignore_port_in_host_matching: true,
        request_headers_to_remove: if table.strips_caller {
            stripped.map(str::to_owned).to_vec()
        } else {
            vec![]
        },
        // The table's removals come first, so that a route can write what clients may not.
        most_specific_header_mutations_wins: true,
        // Clusters arrive before the routes that name them; Envoy need not refuse a table over one of them.
        validate_clusters: no(),
        ..Default::default()
    };
    let clusters: BTreeSet<ResourceName> =
        table.targets().iter().map(|target| target.to_string().into()).collect();
    let clusters = clusters.into_iter().collect();
    let hosts = Hosts { virtual_hosts: table.hosts.iter().map(virtual_host).collect() };
    let any = Any { type_url: RouteConfiguration::type_url(), value: joined(&message, &hosts) };
    encoded(ResourceType::Routes, table.name.into(), &any, clusters)
}

/// The table of a sidecar's inbound listener: everything goes to the application.
pub(super) fn inbound(name: &str, cluster: String) -> RouteConfiguration {
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster)),
        // The caller's route has the limit.
        timeout: Some(duration(Duration::ZERO)),
        ..Default::default()
    };
    everything(name, RouteActionSpecifier::Route(action))
}

fn everything(name: &str, action: RouteActionSpecifier) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![EnvoyVirtualHost {
            name: "all".to_owned(),
            domains: vec!["*".to_owned()],
            routes: vec![Route {
                r#match: Some(RouteMatch {
                    path_specifier: Some(PathSpecifier::Prefix("/".to_owned())),
                    ..Default::default()
                }),
                action: Some(action),
                ..Default::default()
            }],
            ..Default::default()
        }],
        validate_clusters: no(),
        ..Default::default()
    }
}

/// The table of a Router's plain port when it has an encrypted one: every request is sent there, method and body kept.
pub(super) fn to_https(name: &str, port: u16) -> RouteConfiguration {
    let redirect = RedirectAction {
        scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
        port_redirect: port.into(),
        response_code: RedirectResponseCode::PermanentRedirect.into(),
        ..Default::default()
    };
    everything(name, RouteActionSpecifier::Redirect(redirect))
}

fn virtual_host(host: &VirtualHost) -> Vec<u8> {
    let message = EnvoyVirtualHost {
        name: host.name.clone(),
        domains: host.domains.clone(),
        request_headers_to_add: host.names_caller.as_ref().map(caller_headers).unwrap_or_default(),
        ..Default::default()
    };
    joined(&message, &Routes { routes: host.routes.iter().map(route).collect() })
}

/// `RouteConfiguration`'s hosts, encoded.
#[derive(Clone, PartialEq, Message)]
struct Hosts {
    #[prost(bytes = "vec", repeated, tag = "2")]
    virtual_hosts: Vec<Vec<u8>>,
}

/// `VirtualHost`'s routes, encoded.
#[derive(Clone, PartialEq, Message)]
struct Routes {
    #[prost(bytes = "vec", repeated, tag = "3")]
    routes: Vec<Vec<u8>>,
}

/// A `Route`'s settings for filters, in order: envoy-types' map is a hash map, whose bytes differ from run to run.
#[derive(Clone, PartialEq, Message)]
struct FilterSettings {
    #[prost(btree_map = "string, message", tag = "13")]
    typed_per_filter_config: BTreeMap<String, Any>,
}

/// One message's fields after the other's: protobuf's fields may come in any order.
fn joined(one: &impl Message, other: &impl Message) -> Vec<u8> {
    let mut bytes = one.encode_to_vec();
    bytes.extend(other.encode_to_vec());
    bytes
}

fn caller_headers(caller: &Caller) -> Vec<HeaderValueOption> {
    vec![
        set_header(CALLER_SYSTEM, caller.system.as_str()),
        set_header(CALLER_SERVICE, &caller.service),
    ]
}

fn set_header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_owned(),
            value: value.to_owned(),
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}

fn route(rule: &RouteRule) -> Vec<u8> {
    let action = match &rule.action {
        Action::Forward(forward) => RouteActionSpecifier::Route(forward_action(forward)),
        Action::Answer { status, body } => {
            RouteActionSpecifier::DirectResponse(DirectResponseAction {
                status: (*status).into(),
                body: Some(DataSource {
                    specifier: Some(data_source::Specifier::InlineString(body.clone())),
                    ..Default::default()
                }),
                ..Default::default()
            })
        }
    };
    let message = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(path_specifier(&rule.path)),
            headers: rule.headers.iter().map(header_matcher).collect(),
            ..Default::default()
        }),
        action: Some(action),
        request_headers_to_add: told(&rule.action),
        metadata: filters::refusals::metadata(rule),
        ..Default::default()
    };
    joined(&message, &FilterSettings { typed_per_filter_config: filters::of_rule(rule) })
}

/// What the next hop is told by headers.
fn told(action: &Action) -> Vec<HeaderValueOption> {
    let Action::Forward(forward) = action else { return vec![] };
    let stripped = forward.stripped.as_ref();
    let prefix = stripped.map(|prefix| set_header("x-forwarded-prefix", prefix));
    let conversion = forward.conversion.as_ref();
    let conversion = conversion.map(|what| set_header(CONVERT_HEADER, &what.to_string()));
    prefix.into_iter().chain(conversion).collect()
}

/// `/orders` takes whole path segments (Envoy's `path_separated_prefix`, which may not end with a slash).
fn path_specifier(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Prefix(prefix) if prefix.ends_with('/') => PathSpecifier::Prefix(prefix.clone()),
        PathMatch::Prefix(prefix) => PathSpecifier::PathSeparatedPrefix(prefix.clone()),
    }
}

fn header_matcher(condition: &HeaderCondition) -> HeaderMatcher {
    let one_of = |values: &[String]| {
        let pattern = match values {
            [value] => MatchPattern::Exact(value.clone()),
            // Values are method names and labels: nothing in them means anything in a regular expression.
            values => MatchPattern::SafeRegex(RegexMatcher {
                regex: values.join("|"),
                ..Default::default()
            }),
        };
        HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(pattern),
            ..Default::default()
        })
    };
    let (name, specifier, invert, missing_is_empty) = match condition {
        HeaderCondition::OneOf(name, values) => (*name, one_of(values), false, false),
        HeaderCondition::NoneOf(name, values) => (*name, one_of(values), true, true),
        HeaderCondition::Present(name) => {
            (name.as_str(), HeaderMatchSpecifier::PresentMatch(true), false, false)
        }
    };
    HeaderMatcher {
        name: name.to_owned(),
        invert_match: invert,
        treat_missing_header_as_empty: missing_is_empty,
        header_match_specifier: Some(specifier),
    }
}

fn forward_action(forward: &Forward) -> RouteAction {
    let cluster_specifier = match forward.targets.as_slice() {
        [(target, _)] => ClusterSpecifier::Cluster(target.to_string()),
        targets => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: targets
                .iter()
                .map(|(target, share)| ClusterWeight {
                    name: target.to_string(),
                    weight: number(*share),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }),
    };
    RouteAction {
        cluster_specifier: Some(cluster_specifier),
        timeout: Some(duration(forward.timeout.unwrap_or(Duration::ZERO))),
        max_stream_duration: forward.is_grpc.then(|| MaxStreamDuration {
            grpc_timeout_header_max: Some(duration(Duration::ZERO)),
            ..Default::default()
        }),
        retry_policy: forward.retries.as_ref().map(retry_policy),
        prefix_rewrite: forward.rewrite.clone().unwrap_or_default(),
        ..Default::default()
    }
}

fn retry_policy(policy: &RetryPolicy) -> EnvoyRetryPolicy {
    let on: Vec<&str> = policy.on.iter().map(|on| on.as_str()).collect();
    EnvoyRetryPolicy {
        retry_on: on.join(","),
        num_retries: number(policy.attempts),
        // Another instance than the one that just failed, if there is one. One that refuses connections has no request
        // under way, so least-request picks it more often than not: hence many picks, which cost nothing.
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack(
                &PreviousHostsPredicate {},
            ))),
        }],
        host_selection_retry_max_attempts: 16,
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(duration(Duration::from_millis(25))),
            max_interval: Some(duration(Duration::from_millis(250))),
        }),
        ..Default::default()
    }
}
