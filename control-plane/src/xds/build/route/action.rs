//! What happens to the requests of a route, as Envoy has it: they are answered, sent elsewhere or forwarded.

use std::time::Duration;

use contract::system::escaped;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, RuntimeFractionalPercent, TypedExtensionConfig, data_source,
};
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode,
};
use envoy_types::pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, retry_host_predicate,
};
use envoy_types::pb::envoy::config::route::v3::route::Action as RouteActionSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, MaxStreamDuration, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, RetryPolicy as EnvoyRetryPolicy, RouteAction,
    WeightedCluster,
};
use envoy_types::pb::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;

use crate::mesh::{Forward, RetryPolicy, Rewrite, Target};
use crate::xds::build::{duration, number, pack};

pub(super) fn answer(status: u16, body: &str) -> RouteActionSpecifier {
    let specifier = Some(data_source::Specifier::InlineString(body.to_owned()));
    RouteActionSpecifier::DirectResponse(DirectResponseAction {
        status: status.into(),
        body: (!body.is_empty()).then(|| DataSource { specifier, ..Default::default() }),
        ..Default::default()
    })
}

pub(super) fn redirect(
    status: u16,
    host: Option<&String>,
    path: Option<&Rewrite>,
) -> RouteActionSpecifier {
    let code = match status {
        301 => RedirectResponseCode::MovedPermanently,
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        _ => RedirectResponseCode::PermanentRedirect,
    };
    let path = path.map(|path| match path {
        Rewrite::Whole(path) | Rewrite::Template(path) => {
            PathRewriteSpecifier::PathRedirect(path.clone())
        }
        Rewrite::Matched(to) => PathRewriteSpecifier::PrefixRewrite(to.clone()),
        Rewrite::Stem { prefix, becomes } => {
            PathRewriteSpecifier::RegexRewrite(stem(prefix, becomes))
        }
    });
    RouteActionSpecifier::Redirect(RedirectAction {
        host_redirect: host.cloned().unwrap_or_default(),
        response_code: code.into(),
        path_rewrite_specifier: path,
        ..Default::default()
    })
}

/// `/orders` and `/orders/7` → `/` and `/7`: the slash after the prefix goes with it, if there is one.
fn stem(prefix: &str, becomes: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(RegexMatcher {
            regex: format!("^{}/?", escaped(prefix)),
            ..Default::default()
        }),
        // Paths of documents hold no backslash, which alone would mean anything here.
        substitution: becomes.to_owned(),
    }
}

pub(super) fn forward(forward: &Forward) -> RouteAction {
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
    let action = RouteAction {
        cluster_specifier: Some(cluster_specifier),
        timeout: Some(duration(forward.timeout.unwrap_or(Duration::ZERO))),
        max_stream_duration: forward.is_grpc.then(|| MaxStreamDuration {
            grpc_timeout_header_max: Some(duration(Duration::ZERO)),
            ..Default::default()
        }),
        retry_policy: forward.retries.as_ref().map(retry_policy),
        request_mirror_policies: forward.mirror.iter().map(mirror_policy).collect(),
        ..Default::default()
    };
    match &forward.rewrite {
        None => action,
        Some(Rewrite::Matched(to) | Rewrite::Whole(to)) => {
            RouteAction { prefix_rewrite: to.clone(), ..action }
        }
        Some(Rewrite::Stem { prefix, becomes }) => {
            RouteAction { regex_rewrite: Some(stem(prefix, becomes)), ..action }
        }
        Some(Rewrite::Template(template)) => RouteAction {
            path_rewrite_policy: Some(TypedExtensionConfig {
                name: "envoy.path.rewrite.uri_template.uri_template_rewriter".to_owned(),
                typed_config: Some(pack(&UriTemplateRewriteConfig {
                    path_template_rewrite: template.clone(),
                })),
            }),
            ..action
        },
    }
}

fn mirror_policy((target, percent): &(Target, u32)) -> RequestMirrorPolicy {
    RequestMirrorPolicy {
        cluster: target.to_string(),
        runtime_fraction: Some(RuntimeFractionalPercent {
            default_value: Some(FractionalPercent {
                numerator: *percent,
                denominator: DenominatorType::Hundred.into(),
            }),
            ..Default::default()
        }),
        // The copy is meant for the same host.
        disable_shadow_host_suffix_append: true,
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
