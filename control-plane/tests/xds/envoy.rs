//! A real Envoy against the server: it warms, switches and refuses as the state machine believes.
//!
//! The binary is named by `AYATORI_ENVOY`.

mod process;
mod resources;

use std::time::{Duration, Instant};

use control_plane::xds::resources::ResourceType::{Cluster, Endpoints, Listener, Routes};
use control_plane::xds::server::XdsConfig;

use crate::harness::*;
use process::{Envoy, application, envoy, until};
use resources::{eds_cluster, endpoints, http_listener, routes_to};

/// Where Envoy gets resources from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// The aggregated stream.
    Ads,
    /// A stream of their type alone, of this variant.
    Own(&'static str),
}

impl Source {
    /// As a `ConfigSource` in the bootstrap.
    fn in_bootstrap(self) -> String {
        match self {
            Self::Ads => "{ads: {}, resource_api_version: V3}".to_owned(),
            Self::Own(api_type) => {
                let services = "grpc_services: [{envoy_grpc: {cluster_name: xds}}]";
                let api = format!("api_type: {api_type}, transport_api_version: V3, {services}");
                format!("{{api_config_source: {{{api}}}, resource_api_version: V3}}")
            }
        }
    }
}

async fn switches_without_a_gap(api_type: &str) {
    let Some(binary) = envoy() else { return };
    let mut server = Server::start(XdsConfig::default()).await;
    let (orders, quotes) = (application("orders").await, application("quotes").await);
    server.put(Cluster, "orders", &eds_cluster(Source::Ads, "orders", 1));
    server.put(Endpoints, "orders", &endpoints("orders", &[orders]));
    let envoy = Envoy::start(&binary, &server, api_type, Source::Ads).await;
    server.put(Listener, "egress", &http_listener(Source::Ads, envoy.port));
    server.put_naming(Routes, "egress", &routes_to("orders"), &["orders"]);
    envoy.answers("orders").await;
    envoy.without_a_failure(change_everything(&mut server, &envoy, orders, quotes)).await;
    envoy.check_nothing_went_wrong().await;
}

async fn change_everything(server: &mut Server, envoy: &Envoy, orders: u16, quotes: u16) {
    // An update of the cluster alone: its endpoints are sent again, or it would warm for 15 s.
    let began = Instant::now();
    server.put(Cluster, "orders", &eds_cluster(Source::Ads, "orders", 2));
    until("the ACK of the update", async || {
        let status = server.proxies.status("envoy").await.ok()?;
        status.types.iter().all(|of| of.view().pending == 0).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Make before break: another cluster takes over, the first leaves.
    server.put(Endpoints, "quotes", &endpoints("quotes", &[quotes]));
    server.put(Cluster, "quotes", &eds_cluster(Source::Ads, "quotes", 1));
    server.put_naming(Routes, "egress", &routes_to("quotes"), &["quotes"]);
    server.remove(Cluster, "orders");
    server.remove(Endpoints, "orders");
    envoy.answers("quotes").await;
    until("the removal of the cluster", async || {
        (envoy.stat("cluster_manager.cluster_removed").await? == 1).then_some(())
    })
    .await;
    envoy.answers("quotes").await;
    // Endpoints move.
    server.put(Endpoints, "quotes", &endpoints("quotes", &[orders]));
    envoy.answers("orders").await;
}

#[tokio::test]
async fn delta_envoy_switches_without_a_gap() {
    switches_without_a_gap("DELTA_GRPC").await;
}

#[tokio::test]
async fn state_of_the_world_envoy_switches_without_a_gap() {
    switches_without_a_gap("GRPC").await;
}

async fn refuses_one_of_many(api_type: &str) {
    let Some(binary) = envoy() else { return };
    let mut server = Server::start(XdsConfig::default()).await;
    for n in 0..20 {
        let name = format!("s{n:02}");
        server.put(Cluster, &name, &eds_cluster(Source::Ads, &name, if n == 7 { 0 } else { 1 }));
        server.put(Endpoints, &name, &endpoints(&name, &[9]));
    }
    let envoy = Envoy::start(&binary, &server, api_type, Source::Ads).await;
    let clusters = until("all clusters but the bad one", async || {
        let status = server.proxies.status("envoy").await.ok()?;
        let view = status.types.first()?.view();
        (view.pending == 0 && view.nacked.len() == 1).then_some(view)
    })
    .await;
    assert_eq!(clusters.acked, 19);
    let nack = clusters.nacked.first().unwrap();
    assert_eq!(nack.resource, "s07");
    assert!(nack.message.contains("ConnectTimeout"), "{}", nack.message);
    // 19 and the one of the bootstrap.
    until("19 active clusters", async || {
        (envoy.stat("cluster_manager.active_clusters").await? == 20).then_some(())
    })
    .await;
    let rejected = envoy.stat("cds.update_rejected").await.unwrap();
    assert!(rejected <= 6, "{rejected} refusals to find one of twenty");
    server.put(Cluster, "s07", &eds_cluster(Source::Ads, "s07", 1));
    until("the mended cluster", async || {
        (envoy.stat("cluster_manager.active_clusters").await? == 21).then_some(())
    })
    .await;
    assert_eq!(envoy.stat("cds.update_rejected").await, Some(rejected));
}

#[tokio::test]
async fn delta_envoy_refuses_one_of_many_and_gets_the_rest() {
    refuses_one_of_many("DELTA_GRPC").await;
}

#[tokio::test]
async fn state_of_the_world_envoy_refuses_one_of_many_and_gets_the_rest() {
    refuses_one_of_many("GRPC").await;
}

/// Clusters and listeners come by streams of their own, what they refer to from `inner`.
async fn follows_streams_of_one_type(api_type: &'static str, inner: Source) {
    let Some(binary) = envoy() else { return };
    let mut server = Server::start(XdsConfig::default()).await;
    let (orders, quotes) = (application("orders").await, application("quotes").await);
    server.put(Cluster, "orders", &eds_cluster(inner, "orders", 1));
    server.put(Endpoints, "orders", &endpoints("orders", &[orders]));
    let envoy = Envoy::start(&binary, &server, api_type, Source::Own(api_type)).await;
    server.put(Listener, "egress", &http_listener(inner, envoy.port));
    server.put_naming(Routes, "egress", &routes_to("orders"), &["orders"]);
    envoy.answers("orders").await;
    envoy
        .without_a_failure(async {
            server.put(Endpoints, "quotes", &endpoints("quotes", &[quotes]));
            server.put(Cluster, "quotes", &eds_cluster(inner, "quotes", 1));
            // No order holds between streams: who changes routes waits for the cluster.
            settled(&server).await;
            server.put_naming(Routes, "egress", &routes_to("quotes"), &["quotes"]);
            envoy.answers("quotes").await;
            server.put(Endpoints, "quotes", &endpoints("quotes", &[orders]));
            envoy.answers("orders").await;
            if let Source::Own(_) = inner {
                // Envoy opens a stream for the warming cluster's endpoints. Over ADS it would not ask anew.
                server.put(Cluster, "quotes", &eds_cluster(inner, "quotes", 2));
            }
            settled(&server).await;
        })
        .await;
    until("the end of all warming", async || {
        (envoy.stat("warming_clusters").await? == 0).then_some(())
    })
    .await;
    envoy.check_nothing_went_wrong().await;
}

/// Waits until the proxy has ACKed all that it asked for, on whichever stream.
async fn settled(server: &Server) {
    until("the ACK of everything", async || {
        let status = server.proxies.status("envoy").await.ok()?;
        let mut asked = status.types.iter().filter(|of| of.is_asked);
        asked.all(|of| of.view().pending == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn delta_envoy_with_a_stream_for_each_type_follows_every_change() {
    follows_streams_of_one_type("DELTA_GRPC", Source::Own("DELTA_GRPC")).await;
}

#[tokio::test]
async fn state_of_the_world_envoy_with_a_stream_for_each_type_follows_every_change() {
    follows_streams_of_one_type("GRPC", Source::Own("GRPC")).await;
}

#[tokio::test]
async fn delta_envoy_with_streams_for_clusters_and_listeners_beside_ads_follows_every_change() {
    follows_streams_of_one_type("DELTA_GRPC", Source::Ads).await;
}

#[tokio::test]
async fn state_of_the_world_envoy_with_streams_beside_ads_follows_every_change() {
    follows_streams_of_one_type("GRPC", Source::Ads).await;
}
