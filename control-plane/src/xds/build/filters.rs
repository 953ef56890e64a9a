//! HTTP filters: the chain of a listener, and what a route sets for them.
//!
//! **Invariants**: a filter that only some routes need is in the chain and off; routes turn it on, so that a change of
//! routes changes no listener.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::on_demand::v3::{OnDemand, OnDemandCds};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpFilter, http_filter,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};

use crate::mesh::RouteRule;
use crate::xds::build::{cluster, duration, pack};

mod compressor;
mod cors;
mod grpc_web;

/// How long a request waits for a cluster that the proxy has yet to be told of; answers come within milliseconds.
const DEMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The filters of a listener, in the order in which a request meets them.
///
/// `ingress`: the listener of a gateway to which the Router brings clients.
pub(super) fn chain(waits: bool, ingress: bool) -> Vec<HttpFilter> {
    let mut chain: Vec<HttpFilter> = waits.then(on_demand).into_iter().collect();
    if ingress {
        // Browsers ask before they show who they are.
        chain.push(cors::filter());
        chain.extend(compressor::filters());
        chain.push(grpc_web::filter());
    }
    chain.push(filter("envoy.filters.http.router", &Router::default()));
    chain
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
