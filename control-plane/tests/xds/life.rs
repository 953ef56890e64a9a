//! How streams and the server begin and end.

use std::time::{Duration, Instant};

use control_plane::xds::server::XdsConfig;
use envoy_types::pb::envoy::config::core::v3::Node;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::*;

#[tokio::test]
async fn a_bad_node_is_refused_by_name_of_what_is_wrong() {
    let server = Server::start(XdsConfig::default()).await;
    for (node, reason) in [
        (Node::default(), "must carry `node`"),
        (Node { metadata: None, ..node("a") }, "`node.metadata.mesh` is missing"),
        (Node { id: String::new(), ..node("a") }, "`node.id` is empty"),
    ] {
        let mut proxy = server.delta().await;
        proxy.hello(node).await;
        let status = proxy.next().await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().contains(reason), "{status}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_ready_sends_proxies_to_another() {
    let server = Server::start(XdsConfig::default()).await;
    server.is_known.send_replace(None);
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    let status = proxy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("the catalogue is incomplete"), "{status}");
}

#[tokio::test]
async fn a_proxy_that_the_source_denies_gets_nothing() {
    let server = Server::start(XdsConfig::default()).await;
    let mut proxy = server.delta().await;
    proxy.hello(Node { cluster: "intruder".to_owned(), ..node("a") }).await;
    assert_eq!(proxy.next().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_stream_without_a_first_request_ends() {
    let first_request = Duration::from_millis(50);
    let server = Server::start(XdsConfig { first_request, ..XdsConfig::default() }).await;
    let mut proxy = server.delta().await;
    assert_eq!(proxy.next().await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn an_old_stream_is_sent_to_reconnect() {
    let stream_age = Duration::from_millis(100);
    let server = Server::start(XdsConfig { stream_age, ..XdsConfig::default() }).await;
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster");
    let status = proxy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("old"), "{status}");
}

#[tokio::test]
async fn a_shutdown_ends_streams_within_the_drain_time_and_then_the_server() {
    let drain = Duration::from_millis(400);
    let server = Server::start(XdsConfig { drain, ..XdsConfig::default() }).await;
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster");
    let began = Instant::now();
    server.shutdown.cancel();
    let status = proxy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(began.elapsed() >= Duration::from_millis(200), "the drain spreads streams");
    drop(proxy);
    soon("the end of the server", server.task).await.unwrap();
}

#[tokio::test]
async fn health_says_whether_xds_is_served() {
    let server = Server::start(XdsConfig::default()).await;
    let mut health = HealthClient::new(server.channel().await);
    let service = "envoy.service.discovery.v3.AggregatedDiscoveryService".to_owned();
    let mut changes = health.watch(HealthCheckRequest { service }).await.unwrap().into_inner();
    for (is_ready, expected) in [
        (true, ServingStatus::Serving),
        (false, ServingStatus::NotServing),
        (true, ServingStatus::Serving),
    ] {
        server.ready.send_replace(is_ready);
        soon("the health status", async {
            while changes.message().await.unwrap().unwrap().status() != expected {}
        })
        .await;
    }
}
