//! Who opens a stream: Envoy's `node`, parsed once.
//!
//! In: the encoded `node` of a stream's first request. Out: [`ProxyNode`], or a reason a person can act on.
//!
//! **Invariants**: it is a claim (design 3.4); nothing here confirms it.

use std::net::SocketAddr;

use bytes::Bytes;
use contract::node::{NodeError, NodeMetadata};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
use prost::Message as _;
use serde_json::{Map, Number};

use crate::xds::stream::Mode;

/// A proxy as it presents itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyNode {
    /// `node.id`: the allocation.
    pub id: String,
    /// `node.cluster`: the service.
    pub cluster: String,
    /// `node.metadata.mesh`.
    pub metadata: NodeMetadata,
    /// The client's name and version, such as `envoy 1.40.0`.
    pub agent: String,
    /// Where it connects from.
    pub peer: Option<SocketAddr>,
    /// The variant of the protocol.
    pub mode: Mode,
}

/// A `node` that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadNode {
    /// The first request has none.
    #[error("the first request of a stream must carry `node`")]
    Missing,
    /// It is no `envoy.config.core.v3.Node`.
    #[error("`node` is not an envoy.config.core.v3.Node")]
    Undecodable,
    /// It has no id.
    #[error("`node.id` is empty; start Envoy with --service-node or set it in the bootstrap")]
    NoId,
    /// It has no metadata of the mesh.
    #[error("`node.metadata.mesh` is missing; render the bootstrap with `meshctl bootstrap`")]
    NoMetadata,
    /// Its metadata cannot be used.
    #[error(transparent)]
    Metadata(#[from] NodeError),
}

impl ProxyNode {
    /// Reads an encoded `node`.
    ///
    /// # Errors
    /// Names what is wrong with it.
    pub(super) fn parse(
        bytes: &Bytes,
        peer: Option<SocketAddr>,
        mode: Mode,
    ) -> Result<Self, BadNode> {
        if bytes.is_empty() {
            return Err(BadNode::Missing);
        }
        let node = Node::decode(bytes.clone()).map_err(|_| BadNode::Undecodable)?;
        if node.id.is_empty() {
            return Err(BadNode::NoId);
        }
        let agent = agent(&node);
        let mut fields = node.metadata.unwrap_or_default().fields;
        let metadata = fields.remove("mesh").ok_or(BadNode::NoMetadata)?;
        let metadata = NodeMetadata::from_json(to_json(metadata))?;
        Ok(Self { id: node.id, cluster: node.cluster, metadata, agent, peer, mode })
    }

    /// Whether another `node` is the same proxy.
    pub(super) fn is_same_proxy(&self, other: &Self) -> bool {
        self.id == other.id && self.cluster == other.cluster && self.metadata == other.metadata
    }
}

fn agent(node: &Node) -> String {
    let version = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
            build.version.as_ref().map_or_else(String::new, |version| {
                format!("{}.{}.{}", version.major_number, version.minor_number, version.patch)
            })
        }
        None => String::new(),
    };
    format!("{} {version}", node.user_agent_name).trim().to_owned()
}

fn to_json(value: Value) -> serde_json::Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::NumberValue(number)) => number_to_json(number),
        Some(Kind::StringValue(text)) => text.into(),
        Some(Kind::BoolValue(flag)) => flag.into(),
        Some(Kind::StructValue(fields)) => struct_to_json(fields),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(to_json).collect(),
    }
}

fn struct_to_json(fields: Struct) -> serde_json::Value {
    let fields = fields.fields.into_iter().map(|(key, value)| (key, to_json(value)));
    serde_json::Value::Object(fields.collect::<Map<_, _>>())
}

/// A protobuf `Struct` knows only floats; ports are whole.
fn number_to_json(number: f64) -> serde_json::Value {
    let whole = (number.fract() == 0.0).then(|| format!("{number:.0}").parse::<i64>().ok());
    match whole.flatten() {
        Some(whole) => whole.into(),
        None => Number::from_f64(number).map_or(serde_json::Value::Null, Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn object(fields: Vec<(&str, Value)>) -> Value {
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        value(Kind::StructValue(Struct { fields }))
    }

    fn text(text: &str) -> Value {
        value(Kind::StringValue(text.to_owned()))
    }

    fn parse(node: &Node) -> Result<ProxyNode, BadNode> {
        ProxyNode::parse(&node.encode_to_vec().into(), None, Mode::Delta)
    }

    fn node(mesh: Option<Value>) -> Node {
        let metadata = mesh.map(|mesh| Struct { fields: [("mesh".to_owned(), mesh)].into() });
        Node {
            id: "allocation".into(),
            user_agent_name: "envoy".into(),
            metadata,
            ..Node::default()
        }
    }

    #[test]
    fn ports_in_metadata_are_whole_though_a_struct_knows_only_floats() {
        let mesh = object(vec![
            ("role", text("sidecar")),
            ("system", text("trading")),
            ("egress", value(Kind::NumberValue(15001.0))),
        ]);
        let parsed = parse(&node(Some(mesh))).unwrap();
        assert_eq!(parsed.metadata.egress, Some(15001));
        assert_eq!(parsed.agent, "envoy");
        assert_eq!(number_to_json(0.5), serde_json::json!(0.5));
        assert_eq!(number_to_json(f64::NAN), serde_json::Value::Null);
    }

    #[test]
    fn a_bad_node_is_refused_with_the_reason() {
        let no_id = Node { cluster: "orders".into(), ..Node::default() };
        let bad_role = node(Some(object(vec![("role", text("proxy"))])));
        for (node, reason) in [
            (Node::default(), "must carry `node`"),
            (no_id, "`node.id` is empty"),
            (node(None), "`node.metadata.mesh` is missing"),
            (bad_role, "unknown variant"),
        ] {
            let error = parse(&node).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let garbage = ProxyNode::parse(&Bytes::from_static(b"\xff\xff"), None, Mode::Delta);
        assert_eq!(garbage, Err(BadNode::Undecodable));
    }
}
