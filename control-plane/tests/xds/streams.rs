//! Resources arrive, changes follow, refusals show.

use control_plane::xds::resources::ResourceType::{Cluster, Endpoints, Routes};
use control_plane::xds::server::{NoStatus, XdsConfig};
use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

use crate::harness::*;

#[tokio::test]
async fn a_delta_proxy_gets_its_resources_and_each_change() {
    let mut server = Server::start(XdsConfig::default()).await;
    server.put(Cluster, "orders", b"1");
    server.put(Endpoints, "orders", b"1");
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster orders");
    proxy.send(delta_request(Endpoints, &["orders"])).await;
    assert_eq!(proxy.told().await, "endpoints orders");
    server.put(Endpoints, "orders", b"2");
    assert_eq!(proxy.told().await, "endpoints orders");
    server.put(Cluster, "quotes", b"1");
    assert_eq!(proxy.told().await, "cluster quotes");
}

#[tokio::test]
async fn a_state_of_the_world_proxy_gets_its_resources_and_each_change() {
    let mut server = Server::start(XdsConfig::default()).await;
    server.put(Cluster, "orders", b"1");
    let (requests, mut responses) = server.sotw().await;
    for count in 1..4 {
        let response = soon("clusters", responses.message()).await.unwrap().unwrap();
        assert_eq!(response.resources.len(), count);
        let ack = DiscoveryRequest {
            version_info: response.version_info,
            response_nonce: response.nonce,
            ..sotw_request(Cluster)
        };
        requests.send(ack).await.unwrap();
        server.put(Cluster, &format!("service-{count}"), b"1");
    }
}

#[tokio::test]
async fn a_refused_resource_shows_with_the_proxy_s_own_words_and_the_rest_lands() {
    let mut server = Server::start(XdsConfig::default()).await;
    server.put(Cluster, "bad", b"bad");
    server.put(Cluster, "good", b"1");
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    for _ in 0..3 {
        let response = proxy.next().await.unwrap();
        let is_bad = response.resources.iter().any(|resource| resource.name == "bad");
        let answer = DeltaDiscoveryRequest {
            response_nonce: response.nonce,
            error_detail: is_bad.then(|| error("lb_policy is not allowed")).flatten(),
            ..delta_request(Cluster, &[])
        };
        proxy.send(answer).await;
    }
    let view = loop {
        let status = soon("status", server.proxies.status("a")).await.unwrap();
        let view = status.types.first().unwrap().view();
        if view.pending == 0 {
            break view;
        }
    };
    assert_eq!(view.acked, 1);
    assert_eq!(view.nacked.len(), 1);
    assert_eq!(view.nacked[0].resource, "bad");
    assert_eq!(view.nacked[0].message, "lb_policy is not allowed");
    let text = server.metrics();
    for line in [
        "mesh_xds_nacks_total{type=\"cluster\"} 2",
        "mesh_xds_quarantined_resources_total{type=\"cluster\"} 1",
        "mesh_xds_streams{mode=\"delta\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn the_table_knows_who_is_connected() {
    let server = Server::start(XdsConfig::default()).await;
    assert_eq!(server.proxies.status("a").await, Err(NoStatus::NotConnected));
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster");
    let listed = server.proxies.list();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].node.id, "a");
    assert_eq!(listed[0].node.metadata.egress, Some(15001));
    drop(proxy);
    soon("the end of the stream", async {
        while !server.proxies.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_node_repeated_in_each_request_changes_nothing_and_a_changed_one_ends_the_stream() {
    let server = Server::start(XdsConfig::default()).await;
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster");
    let request = delta_request(Endpoints, &["x"]);
    proxy.send(DeltaDiscoveryRequest { node: Some(node("a")), ..request.clone() }).await;
    assert_eq!(proxy.told().await, "endpoints -x");
    proxy.send(DeltaDiscoveryRequest { node: Some(node("b")), ..request }).await;
    let status = proxy.next().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("`node` differs"), "{status}");
}

#[tokio::test]
async fn what_two_proxies_of_a_version_refused_a_third_gets_as_it_was_accepted_last() {
    let mut server = Server::start(XdsConfig::default()).await;
    server.put(Routes, "egress", b"1");
    let mut others = Vec::new();
    for id in ["a", "b"] {
        let mut proxy = server.delta().await;
        proxy.hello(node(id)).await;
        proxy.send(delta_request(Routes, &["egress"])).await;
        assert_eq!(proxy.told().await, "cluster");
        assert_eq!(proxy.told().await, "routes egress");
        others.push(proxy);
    }
    server.put(Routes, "egress", b"bad");
    for proxy in &mut others {
        let response = proxy.next().await.unwrap();
        let nack = DeltaDiscoveryRequest {
            response_nonce: response.nonce,
            error_detail: error("no such field"),
            ..delta_request(Routes, &[])
        };
        proxy.send(nack).await;
    }
    soon("both refusals", async {
        while !server.metrics().contains("mesh_xds_held_back_resources{type=\"routes\"} 1") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut third = server.delta().await;
    third.hello(node("c")).await;
    third.send(delta_request(Routes, &["egress"])).await;
    assert_eq!(third.told().await, "cluster");
    let response = third.next().await.unwrap();
    assert_eq!(response.resources[0].resource.as_ref().unwrap().value, b"1");
    let status = server.proxies.status("c").await.unwrap();
    let routes = status.types.iter().find(|of| of.kind == Routes).unwrap().view();
    assert_eq!(routes.nacked[0].message, "no such field");
}

#[tokio::test]
async fn a_stream_of_clusters_beside_ads_of_the_same_proxy_needs_no_type_and_serves_no_other() {
    let mut server = Server::start(XdsConfig::default()).await;
    server.put(Cluster, "orders", b"1");
    server.put(Endpoints, "orders", b"1");
    let mut ads = server.delta().await;
    let endpoints = delta_request(Endpoints, &["orders"]);
    ads.send(DeltaDiscoveryRequest { node: Some(node("a")), ..endpoints }).await;
    assert_eq!(ads.told().await, "endpoints orders");
    let (requests, receiver) = tokio::sync::mpsc::channel(4);
    let mut cds = ClusterDiscoveryServiceClient::new(server.channel().await);
    let untyped = DiscoveryRequest { node: Some(node("a")), ..DiscoveryRequest::default() };
    requests.send(untyped).await.unwrap();
    let receiver = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut responses = cds.stream_clusters(receiver).await.unwrap().into_inner();
    let response = soon("clusters", responses.message()).await.unwrap().unwrap();
    assert_eq!(response.type_url, Cluster.type_url());
    let response_nonce = response.nonce;
    requests
        .send(DiscoveryRequest { response_nonce, ..DiscoveryRequest::default() })
        .await
        .unwrap();
    soon("both ACKs", async {
        loop {
            let types = server.proxies.status("a").await.unwrap().types;
            let acked: Vec<_> = types.iter().map(|of| (of.kind, of.view().acked)).collect();
            if acked.get(..2) == Some(&[(Cluster, 1), (Endpoints, 1)]) {
                return;
            }
        }
    })
    .await;
    assert_eq!(server.proxies.list().len(), 2);
    requests.send(sotw_request(Endpoints)).await.unwrap();
    let status = soon("the refusal", responses.message()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("alone"), "{status}");
    server.put(Endpoints, "orders", b"2");
    assert_eq!(ads.told().await, "endpoints orders", "the other stream goes on");
}
