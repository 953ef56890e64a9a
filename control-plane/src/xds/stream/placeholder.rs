//! The answer to a question for routes that do not exist.
//!
//! **Invariants**: the same name gives the same bytes, so that replicas agree.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;

use crate::xds::resources::{Encoded, ResourceName, ResourceType, Version};

/// A route configuration of this name without any route: every request gets 404.
pub(super) fn empty_routes(name: &ResourceName) -> Encoded {
    let kind = ResourceType::Routes;
    let value = RouteConfiguration { name: name.to_string(), ..RouteConfiguration::default() };
    let any = Any { type_url: kind.type_url().to_owned(), value: value.encode_to_vec() };
    let any = any.encode_to_vec();
    Encoded {
        kind,
        name: name.clone(),
        version: Version::of(&any),
        any: any.into(),
        clusters: [].into(),
        requirements: BTreeSet::new(),
    }
}
