//! HTTP filters: the chain of a listener, and what a route sets for them.
//!
//! **Invariants**: a filter that only some routes need is in the chain and off; routes turn it on, so that a change of
//! routes changes no listener.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{
    HeaderMutation as MutationRule, header_mutation as mutation_rule,
};
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::{
    HeaderMutation, Mutations,
};
use envoy_types::pb::envoy::extensions::filters::http::on_demand::v3::{OnDemand, OnDemandCds};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use crate::mesh::{RouteRule, Transport};
use crate::xds::build::{cluster, duration, pack};

mod compressor;
mod cors;
mod grpc_web;

/// How long a request waits for a cluster that the proxy has yet to be told of; answers come within milliseconds.
const DEMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The filters of a listener, in the order in which a request meets them.
///
/// `ingress`: the listener of a gateway to which the Router brings clients.
pub(super) fn chain(transport: &Transport, waits: bool, ingress: bool) -> Vec<HttpFilter> {
    let http3 = match transport {
        Transport::Tls { http3: Some(port), .. } => Some(*port),
        Transport::Tls { http3: None, .. } | Transport::Plain | Transport::Quic { .. } => None,
    };
    let mut chain: Vec<HttpFilter> =
        http3.map(advertise).into_iter().chain(waits.then(on_demand)).collect();
    if ingress {
        // Browsers ask before they show who they are.
        chain.push(cors::filter());
        chain.extend(compressor::filters());
        chain.push(grpc_web::filter());
    }
    chain.push(filter("envoy.filters.http.router", &Router::default()));
    chain
}

/// Tells clients that the same is to be had over HTTP/3 (RFC 7838).
fn advertise(port: u16) -> HttpFilter {
    let alternative = HeaderValueOption {
        header: Some(HeaderValue {
            key: "alt-svc".to_owned(),
            value: format!("h3=\":{port}\"; ma=86400"),
            ..Default::default()
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..Default::default()
    };
    let config = HeaderMutation {
        mutations: Some(Mutations {
            response_mutations: vec![MutationRule {
                action: Some(mutation_rule::Action::Append(alternative)),
            }],
            ..Default::default()
        }),
        ..Default::default()
    };
    filter("envoy.filters.http.header_mutation", &config)
}

/// What a route sets for the filters, by the filters' names.
pub(super) fn of_rule(rule: &RouteRule) -> BTreeMap<String, Any> {
    let mut settings = BTreeMap::new();
    settings.extend(rule.treatment.cors.as_ref().map(cors::of_rule));
    if rule.treatment.compress {
        settings.extend(compressor::of_rule());
    }
    settings
}

fn filter<M: Message + Name>(name: &str, config: &M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack(config))),
        ..Default::default()
    }
}

/// Asks for a request's cluster when the proxy does not have it.
fn on_demand() -> HttpFilter {
    let odcds = OnDemandCds {
        source: Some(cluster::ads()),
        timeout: Some(duration(DEMAND_TIMEOUT)),
        ..Default::default()
    };
    filter("envoy.filters.http.on_demand", &OnDemand { odcds: Some(odcds) })
}
