//! How often callers may come: token buckets of each gateway Envoy.
//!
//! The System's limits are the listener's, a route's its own; `all` and `consumer` are filters of their own, so that
//! each can say by name that it is full. A bucket fills evenly, a token each `per` / `requests`.

use std::time::Duration;

use contract::gateway::CONSUMER_HEADER;
use contract::system::Rate;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, RuntimeFractionalPercent,
};
use envoy_types::pb::envoy::config::route::v3::RateLimit;
use envoy_types::pb::envoy::config::route::v3::rate_limit::Action;
use envoy_types::pb::envoy::config::route::v3::rate_limit::action::{
    ActionSpecifier, RequestHeaders,
};
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::{
    LocalRateLimitDescriptor, rate_limit_descriptor,
};
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, HttpStatus, StatusCode, TokenBucket};
use envoy_types::pb::google::protobuf::Any;

use super::{filter, off};
use crate::mesh::{Checkpoint, Guard};
use crate::xds::build::{duration, no, number, pack};

const ROUTE_ALL: &str = "mesh.limits.route_all";
const ROUTE_CONSUMER: &str = "mesh.limits.route_consumer";
/// The response header that names the limit that was reached.
pub(super) const LIMIT_HEADER: &str = "x-mesh-limit";
/// Consumers that are counted at a time; beyond it those that came least recently begin anew.
const CONSUMERS: u32 = 10_000;

/// The filters of the listener for the Router.
pub(super) fn filters(checkpoint: &Checkpoint) -> Vec<HttpFilter> {
    let of = format!("System {}", checkpoint.system);
    let limits = &checkpoint.limits;
    let all = limits.all.map(|rate| filter("mesh.limits.all", &all(rate, &of)));
    let consumer =
        limits.consumer.map(|rate| filter("mesh.limits.consumer", &by_consumer(rate, &of)));
    let unused = LocalRateLimit { stat_prefix: "route".to_owned(), ..Default::default() };
    let of_routes = [ROUTE_ALL, ROUTE_CONSUMER].map(|name| off(filter(name, &unused)));
    all.into_iter().chain(consumer).chain(of_routes).collect()
}

/// A route's own limits.
pub(super) fn of(guard: &Guard) -> Vec<(&'static str, Any)> {
    let of = format!("System {}, {}", guard.system, guard.route);
    let all = guard.limits.all.map(|rate| (ROUTE_ALL, pack(&all(rate, &of))));
    let consumer = guard.limits.consumer;
    let consumer = consumer.map(|rate| (ROUTE_CONSUMER, pack(&by_consumer(rate, &of))));
    all.into_iter().chain(consumer).collect()
}

fn all(rate: Rate, of: &str) -> LocalRateLimit {
    LocalRateLimit {
        token_bucket: Some(bucket(rate)),
        ..limit(rate, &format!("{of}: all callers"))
    }
}

/// A bucket for each consumer; who has no name is not counted.
fn by_consumer(rate: Rate, of: &str) -> LocalRateLimit {
    let header = RequestHeaders {
        header_name: CONSUMER_HEADER.to_owned(),
        descriptor_key: "consumer".to_owned(),
        ..Default::default()
    };
    let action = Action { action_specifier: Some(ActionSpecifier::RequestHeaders(header)) };
    // Without a value it stands for each value that comes.
    let entry = rate_limit_descriptor::Entry { key: "consumer".to_owned(), ..Default::default() };
    let endless = Rate { requests: u32::MAX, ..rate };
    LocalRateLimit {
        token_bucket: Some(bucket(endless)),
        always_consume_default_token_bucket: no(),
        rate_limits: vec![RateLimit { actions: vec![action], ..Default::default() }],
        descriptors: vec![LocalRateLimitDescriptor {
            entries: vec![entry],
            token_bucket: Some(bucket(rate)),
            ..Default::default()
        }],
        max_dynamic_descriptors: number(CONSUMERS),
        ..limit(rate, &format!("{of}: each consumer"))
    }
}

fn limit(rate: Rate, what: &str) -> LocalRateLimit {
    let whole = || {
        let denominator = DenominatorType::Hundred.into();
        let default_value = Some(FractionalPercent { numerator: 100, denominator });
        Some(RuntimeFractionalPercent { default_value, ..Default::default() })
    };
    let told = format!("{what}, {} in {}", rate.requests, rate.per);
    LocalRateLimit {
        stat_prefix: "limits".to_owned(),
        status: Some(HttpStatus { code: StatusCode::TooManyRequests.into() }),
        filter_enabled: whole(),
        filter_enforced: whole(),
        response_headers_to_add: vec![
            header("retry-after", retry_after(rate).to_string()),
            header(LIMIT_HEADER, told),
        ],
        rate_limited_as_resource_exhausted: true,
        ..Default::default()
    }
}

fn bucket(rate: Rate) -> TokenBucket {
    TokenBucket {
        max_tokens: rate.requests,
        tokens_per_fill: number(rate.requests),
        fill_interval: Some(duration(rate.per.as_duration())),
    }
}

/// Seconds until the next token.
fn retry_after(rate: Rate) -> u64 {
    let between: Duration = rate.per.as_duration() / rate.requests.max(1);
    between.as_secs() + u64::from(between.subsec_nanos() > 0)
}

fn header(key: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.to_owned(), value, ..Default::default() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_told_to_wait_for_the_next_token() {
        for (requests, per, seconds) in
            [(100, "1m", 1), (1, "1m", 60), (7, "1m", 9), (1, "50ms", 1), (1000, "1s", 1)]
        {
            let rate = Rate { requests, per: per.parse().unwrap() };
            assert_eq!(retry_after(rate), seconds, "{requests} in {per}");
        }
    }
}
