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

/// How long a request waits for a cluster that the proxy has yet to be told of; answers come within milliseconds.
const DEMAND_TIMEOUT: Duration = Duration::from_secs(5);

/// The filters of a listener, in the order in which a request meets them.
pub(super) fn chain(waits: bool) -> Vec<HttpFilter> {
    let waiting = waits.then(on_demand);
    waiting.into_iter().chain([filter("envoy.filters.http.router", &Router::default())]).collect()
}

/// What a route sets for the filters, by the filters' names.
pub(super) fn of_rule(_rule: &RouteRule) -> BTreeMap<String, Any> {
    BTreeMap::new()
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
