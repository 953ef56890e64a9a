//! Messages of proxies.

use control_plane::xds::resources::ResourceType;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

pub(crate) fn delta_request(kind: ResourceType, subscribe: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: subscribe.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

/// A sidecar of `orders` in `trading`.
pub(crate) fn node(id: &str) -> Node {
    let value = |kind| Value { kind: Some(kind) };
    let text = |text: &str| value(Kind::StringValue(text.to_owned()));
    let mesh = [
        ("role".to_owned(), text("sidecar")),
        ("system".to_owned(), text("trading")),
        ("egress".to_owned(), value(Kind::NumberValue(15001.0))),
    ];
    let mesh = value(Kind::StructValue(Struct { fields: mesh.into() }));
    Node {
        id: id.to_owned(),
        cluster: "orders".to_owned(),
        user_agent_name: "envoy".to_owned(),
        metadata: Some(Struct { fields: [("mesh".to_owned(), mesh)].into() }),
        ..Node::default()
    }
}
