//! What we write and read is what Envoy's own messages say.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as proto;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc;

use super::*;

fn content(name: &str, bytes: usize) -> std::sync::Arc<Encoded> {
    let kind = ResourceType::Endpoints;
    let any = Any { type_url: kind.type_url().to_owned(), value: vec![7; bytes] }.encode_to_vec();
    Encoded {
        kind,
        name: name.into(),
        version: Version::of(&any),
        any: any.into(),
        clusters: [].into(),
        requirements: BTreeSet::new(),
    }
    .into()
}

fn response(version: Option<Version>) -> Response {
    Response {
        kind: ResourceType::Endpoints,
        nonce: 300,
        version,
        resources: vec![content("a", 0), content("orders.trading", 40_000)],
        removed: if version.is_some() { Vec::new() } else { vec!["gone".into()] },
    }
}

/// The message without its gRPC prefix, which must fit it exactly.
fn body(response: &Response) -> Bytes {
    let mut message = encode(response);
    let prefix = message.split_to(PREFIX_LEN);
    assert_eq!(prefix[0], 0);
    assert_eq!(u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize, message.len());
    message
}

#[test]
fn a_delta_response_reads_as_envoy_s_message() {
    let response = response(None);
    let read = proto::DeltaDiscoveryResponse::decode(body(&response)).unwrap();
    assert_eq!(read.nonce, "300");
    assert_eq!(read.type_url, ResourceType::Endpoints.type_url());
    assert_eq!(read.removed_resources, ["gone"]);
    for (read, sent) in read.resources.iter().zip(&response.resources) {
        assert_eq!(read.name, *sent.name);
        assert_eq!(read.version, sent.version.to_string());
        assert_eq!(read.resource, Some(Any::decode(sent.any.clone()).unwrap()));
    }
    assert_eq!(read.resources.len(), 2);
    assert_eq!(read.encode_to_vec().len(), body(&response).len());
}

#[test]
fn a_state_of_the_world_response_reads_as_envoy_s_message() {
    let version = Version::of(b"state");
    let response = response(Some(version));
    let read = proto::DiscoveryResponse::decode(body(&response)).unwrap();
    assert_eq!(read.nonce, "300");
    assert_eq!(read.version_info, version.to_string());
    assert_eq!(read.type_url, ResourceType::Endpoints.type_url());
    let sent = response.resources.iter().map(|sent| Any::decode(sent.any.clone()).unwrap());
    assert_eq!(read.resources, sent.collect::<Vec<_>>());
}

fn node() -> Node {
    Node { id: "allocation".into(), cluster: "orders".into(), ..Node::default() }
}

fn nack() -> rpc::Status {
    rpc::Status { code: 13, message: "bad cluster".into(), details: Vec::new() }
}

#[test]
fn a_delta_request_of_envoy_reads_in_full() {
    let sent = proto::DeltaDiscoveryRequest {
        node: Some(node()),
        type_url: ResourceType::Cluster.type_url().into(),
        resource_names_subscribe: vec!["a".into()],
        resource_names_unsubscribe: vec!["b".into()],
        initial_resource_versions: [("c".to_owned(), "1".to_owned())].into(),
        response_nonce: "17".into(),
        error_detail: Some(nack()),
        ..proto::DeltaDiscoveryRequest::default()
    };
    let read = DeltaRequest::decode(&*sent.encode_to_vec()).unwrap();
    assert_eq!(Node::decode(read.node().clone()).unwrap(), node());
    assert_eq!(read.type_url(), ResourceType::Cluster.type_url());
    assert_eq!(
        read.into_request(ResourceType::Cluster),
        Request {
            kind: ResourceType::Cluster,
            answers: Answers::Nonce(17),
            error: Some("bad cluster".into()),
            names: Names::Change {
                subscribe: vec!["a".into()],
                unsubscribe: vec!["b".into()],
                initial: [("c".to_owned(), "1".to_owned())].into(),
            },
        }
    );
}

#[test]
fn a_state_of_the_world_request_of_envoy_reads_in_full() {
    let sent = proto::DiscoveryRequest {
        version_info: "v".into(),
        node: Some(node()),
        resource_names: vec!["a".into()],
        type_url: ResourceType::Routes.type_url().into(),
        response_nonce: "2026-11-22T10:00:00Z".into(),
        error_detail: None,
        ..proto::DiscoveryRequest::default()
    };
    let read = SotwRequest::decode(&*sent.encode_to_vec()).unwrap();
    assert_eq!(Node::decode(read.node().clone()).unwrap(), node());
    assert_eq!(
        read.into_request(ResourceType::Routes),
        Request {
            kind: ResourceType::Routes,
            answers: Answers::Foreign,
            error: None,
            names: Names::Whole { names: vec!["a".into()], version: "v".into() },
        }
    );
}

#[test]
fn the_first_request_of_a_stream_answers_nothing() {
    assert_eq!(answers(b""), Answers::Nothing);
}
