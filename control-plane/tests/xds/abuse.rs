//! Clients that misbehave are refused or wait; others do not notice.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use control_plane::xds::resources::ResourceType::{Cluster, Endpoints};
use control_plane::xds::server::{NoStatus, XdsConfig};
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http_body_util::{BodyExt as _, Full};
use tokio::io::AsyncWriteExt as _;
use tonic::Code;
use tonic::client::GrpcService as _;

use crate::harness::*;

#[tokio::test]
async fn a_hundred_garbage_connections_harm_nobody() {
    let mut server = Server::start(XdsConfig::default()).await;
    server.put(Cluster, "orders", b"1");
    let address = server.address.trim_start_matches("http://").to_owned();
    let mut garbage = Vec::new();
    for n in 0..100_u8 {
        let mut connection = tokio::net::TcpStream::connect(&address).await.unwrap();
        // The server may close first; either is fine.
        drop(connection.write_all(&[n; 4096]).await);
        garbage.push(connection);
    }
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster orders");
}

/// Sends bytes as one gRPC message; returns the status of the answer.
async fn status_of(server: &Server, message: &[u8]) -> (String, String) {
    let mut frame = Vec::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let request = http::Request::post(format!("{}{path}", server.address))
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Full::new(Bytes::from(frame))))
        .unwrap();
    let mut channel = server.channel().await;
    std::future::poll_fn(|context| channel.poll_ready(context)).await.unwrap();
    let response = soon("an answer", channel.call(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let trailers = soon("the end", body.collect()).await.unwrap().trailers().cloned();
    let headers = trailers.filter(|it| it.contains_key("grpc-status")).unwrap_or(head.headers);
    let text = |key: &str| {
        headers.get(key).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    (text("grpc-status"), text("grpc-message"))
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_says_so() {
    let server = Server::start(XdsConfig::default()).await;
    let (code, message) = status_of(&server, b"\x0a\xff\xff\xff\xff").await;
    assert_eq!(code, (Code::InvalidArgument as i32).to_string());
    assert!(message.contains("malformed"), "{message}");
}

#[tokio::test]
async fn an_oversized_request_is_refused_and_says_so() {
    let server = Server::start(XdsConfig { max_request_bytes: 1000, ..XdsConfig::default() }).await;
    let (code, message) = status_of(&server, &[0; 2000]).await;
    assert_eq!(code, (Code::ResourceExhausted as i32).to_string());
    assert!(message.contains("oversized"), "{message}");
}

#[tokio::test]
async fn too_long_a_name_ends_the_stream_with_the_reason() {
    let server = Server::start(XdsConfig::default()).await;
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster");
    proxy.send(delta_request(Endpoints, &["x".repeat(513).as_str()])).await;
    let status = proxy.next().await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("exceeds 512"), "{status}");
}

#[tokio::test]
async fn a_type_that_is_not_served_is_passed_over() {
    let server = Server::start(XdsConfig::default()).await;
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster");
    let type_url = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    proxy.send(DeltaDiscoveryRequest { type_url, ..DeltaDiscoveryRequest::default() }).await;
    proxy.send(delta_request(Endpoints, &["x"])).await;
    assert_eq!(proxy.told().await, "endpoints -x");
}

#[tokio::test]
async fn a_flood_of_requests_waits_and_all_of_them_count() {
    let config = XdsConfig { requests_per_second: 100, request_burst: 10, ..XdsConfig::default() };
    let server = Server::start(config).await;
    let mut proxy = server.delta().await;
    proxy.hello(node("a")).await;
    assert_eq!(proxy.told().await, "cluster");
    let began = std::time::Instant::now();
    for n in 0..40 {
        proxy.send(delta_request(Endpoints, &[&format!("x{n}")])).await;
    }
    let mut answered = 0;
    while answered < 40 {
        answered += proxy.told().await.matches('-').count();
    }
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_nobody_and_gets_the_newest_in_the_end() {
    let mut server = Server::start(XdsConfig::default()).await;
    let mut slow = server.delta().await;
    slow.hello(node("slow")).await;
    assert_eq!(slow.told().await, "cluster");
    let mut quick = server.delta().await;
    quick.hello(node("quick")).await;
    assert_eq!(quick.told().await, "cluster");
    for n in 0..50_u8 {
        server.put(Cluster, "big", &vec![n; 500_000]);
        assert_eq!(quick.told().await, "cluster big");
    }
    let mut seen = 0;
    loop {
        let response = slow.next().await.unwrap();
        seen += 1;
        let ack =
            DeltaDiscoveryRequest { response_nonce: response.nonce, ..delta_request(Cluster, &[]) };
        slow.send(ack).await;
        let content = response.resources[0].resource.as_ref().unwrap();
        if content.value[0] == 49 {
            break;
        }
    }
    assert!(seen <= 3, "{seen} generations reached a proxy that did not read");
}

#[tokio::test]
async fn a_client_that_does_not_read_says_nothing_and_does_not_hold_up_the_shutdown() {
    let drain = Duration::from_millis(100);
    let mut server = Server::start(XdsConfig { drain, ..XdsConfig::default() }).await;
    let mut deaf = server.delta().await;
    deaf.hello(node("deaf")).await;
    assert_eq!(deaf.told().await, "cluster");
    server.put(Cluster, "big", &vec![7; 20 << 20]);
    server.put(Endpoints, "x", b"1");
    deaf.send(delta_request(Endpoints, &["x"])).await;
    soon("the silence of the stream", async {
        while server.proxies.status("deaf").await != Err(NoStatus::Stalled) {}
    })
    .await;
    server.shutdown.cancel();
    soon("the end of the server", server.task).await.unwrap();
    drop(deaf);
}
