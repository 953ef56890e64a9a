//! A real Envoy against the server: it warms, switches and refuses as the state machine believes.
//!
//! The binary is named by `AYATORI_ENVOY`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use control_plane::xds::resources::ResourceType::{Cluster, Endpoints, Listener, Routes};
use control_plane::xds::server::XdsConfig;
use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::google::protobuf::{self, Any};
use prost::{Message, Name};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::harness::*;

/// The binary, or a loud skip.
#[expect(
    clippy::disallowed_methods,
    reason = "tests find their real parts through the environment"
)]
#[expect(clippy::print_stderr, reason = "a skip is loud")]
fn envoy() -> Option<PathBuf> {
    if let Ok(path) = std::env::var("AYATORI_ENVOY") {
        return Some(path.into());
    }
    let required = std::env::var("E2E_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|part| part == "envoy"), "AYATORI_ENVOY names no Envoy");
    eprintln!("SKIP real Envoy: AYATORI_ENVOY is not set");
    None
}

fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn ads() -> core::ConfigSource {
    let ads = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {});
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(ads),
        ..core::ConfigSource::default()
    }
}

fn seconds(seconds: i64) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos: 0 })
}

fn eds_cluster(name: &str, connect_timeout: i64) -> Vec<u8> {
    let eds = cluster::cluster::DiscoveryType::Eds.into();
    cluster::Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(eds)),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: Some(ads()),
            ..cluster::cluster::EdsClusterConfig::default()
        }),
        connect_timeout: seconds(connect_timeout),
        ..cluster::Cluster::default()
    }
    .encode_to_vec()
}

fn address(port: u16) -> Option<core::Address> {
    let socket = core::SocketAddress {
        address: "127.0.0.1".to_owned(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..core::SocketAddress::default()
    };
    Some(core::Address { address: Some(core::address::Address::SocketAddress(socket)) })
}

fn endpoints(name: &str, ports: &[u16]) -> Vec<u8> {
    let lb = ports.iter().map(|port| endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint { address: address(*port), ..endpoint::Endpoint::default() },
        )),
        ..endpoint::LbEndpoint::default()
    });
    let locality = endpoint::LocalityLbEndpoints {
        lb_endpoints: lb.collect(),
        ..endpoint::LocalityLbEndpoints::default()
    };
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![locality],
        ..endpoint::ClusterLoadAssignment::default()
    }
    .encode_to_vec()
}

fn routes_to(cluster: &str) -> Vec<u8> {
    let action = route::RouteAction {
        cluster_specifier: Some(route::route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
        ..route::RouteAction::default()
    };
    let everything = route::Route {
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..route::RouteMatch::default()
        }),
        action: Some(route::route::Action::Route(action)),
        ..route::Route::default()
    };
    let host = route::VirtualHost {
        name: "all".to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![everything],
        ..route::VirtualHost::default()
    };
    route::RouteConfiguration {
        name: "egress".to_owned(),
        virtual_hosts: vec![host],
        ..route::RouteConfiguration::default()
    }
    .encode_to_vec()
}

fn http_listener(port: u16) -> Vec<u8> {
    let rds = hcm::Rds { config_source: Some(ads()), route_config_name: "egress".to_owned() };
    let router = hcm::HttpFilter {
        name: "router".to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
        ..hcm::HttpFilter::default()
    };
    let manager = hcm::HttpConnectionManager {
        stat_prefix: "egress".to_owned(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(rds)),
        http_filters: vec![router],
        ..hcm::HttpConnectionManager::default()
    };
    let filter = listener::Filter {
        name: "http".to_owned(),
        config_type: Some(listener::filter::ConfigType::TypedConfig(pack(&manager))),
    };
    listener::Listener {
        name: "egress".to_owned(),
        address: address(port),
        filter_chains: vec![listener::FilterChain {
            filters: vec![filter],
            ..listener::FilterChain::default()
        }],
        ..listener::Listener::default()
    }
    .encode_to_vec()
}

/// One HTTP/1.1 exchange; the body, or what went wrong.
async fn get(port: u16, path: &str) -> Result<String, std::io::Error> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    connection.read_to_string(&mut text).await?;
    Ok(text)
}

/// An application that answers every request with its name.
async fn application(name: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    #[expect(clippy::disallowed_methods, reason = "the test owns its application")]
    drop(tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 2048];
            let length = name.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{name}"
            );
            if connection.read(&mut request).await.is_ok() {
                // The client may have gone.
                drop(connection.write_all(answer.as_bytes()).await);
            }
        }
    }));
    port
}

/// A running Envoy.
struct Envoy {
    admin: u16,
    port: u16,
    _process: Child,
    _folder: tempfile::TempDir,
}

impl Envoy {
    async fn start(binary: &PathBuf, server: &Server, api_type: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (_, xds) = server.address.rsplit_once(':').unwrap();
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let bootstrap =
            include_str!("envoy.yaml").replace("API_TYPE", api_type).replace("XDS", xds);
        let (config, admin) = (folder.path().join("envoy.yaml"), folder.path().join("admin"));
        std::fs::write(&config, bootstrap).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new(binary)
            .arg("-c")
            .arg(&config)
            .args(["--use-dynamic-base-id", "--concurrency", "1", "--admin-address-path"])
            .arg(&admin)
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let admin = until("Envoy's admin port", async || {
            let text = std::fs::read_to_string(&admin).ok()?;
            text.rsplit_once(':')?.1.trim().parse().ok()
        })
        .await;
        Self { admin, port, _process: process, _folder: folder }
    }

    async fn stat(&self, name: &str) -> Option<u64> {
        let text = get(self.admin, &format!("/stats?filter={name}$")).await.ok()?;
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines.filter_map(|(_, value)| value.trim().parse::<u64>().ok()).reduce(|a, b| a + b)
    }

    /// Which application answers.
    async fn answers(&self, name: &str) {
        until(name, async || {
            let text = get(self.port, "/").await.ok()?;
            (text.starts_with("HTTP/1.1 200") && text.ends_with(name)).then_some(())
        })
        .await;
    }

    /// Sends requests one after the other while something happens: each must succeed.
    async fn without_a_failure(&self, happening: impl Future<Output = ()>) {
        let requests = async {
            loop {
                let answer = get(self.port, "/").await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
        };
        tokio::select! {
            () = happening => {}
            never = requests => never,
        }
    }

    async fn check_nothing_went_wrong(&self) {
        for stat in
            ["update_rejected", "init_fetch_timeout", "warming_clusters", "total_listeners_warming"]
        {
            assert_eq!(self.stat(stat).await, Some(0), "{stat}");
        }
    }
}

/// Asks again until there is an answer.
async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn switches_without_a_gap(api_type: &str) {
    let Some(binary) = envoy() else { return };
    let mut server = Server::start(XdsConfig::default()).await;
    let (orders, quotes) = (application("orders").await, application("quotes").await);
    server.put(Cluster, "orders", &eds_cluster("orders", 1));
    server.put(Endpoints, "orders", &endpoints("orders", &[orders]));
    let envoy = Envoy::start(&binary, &server, api_type).await;
    server.put(Listener, "egress", &http_listener(envoy.port));
    server.put_naming(Routes, "egress", &routes_to("orders"), &["orders"]);
    envoy.answers("orders").await;
    envoy.without_a_failure(change_everything(&mut server, &envoy, orders, quotes)).await;
    envoy.check_nothing_went_wrong().await;
}

async fn change_everything(server: &mut Server, envoy: &Envoy, orders: u16, quotes: u16) {
    // An update of the cluster alone: its endpoints are sent again, or it would warm for 15 s.
    let began = Instant::now();
    server.put(Cluster, "orders", &eds_cluster("orders", 2));
    until("the ACK of the update", async || {
        let status = server.proxies.status("envoy").await.ok()?;
        status.types.iter().all(|of| of.view().pending == 0).then_some(())
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Make before break: another cluster takes over, the first leaves.
    server.put(Endpoints, "quotes", &endpoints("quotes", &[quotes]));
    server.put(Cluster, "quotes", &eds_cluster("quotes", 1));
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
        server.put(Cluster, &name, &eds_cluster(&name, if n == 7 { 0 } else { 1 }));
        server.put(Endpoints, &name, &endpoints(&name, &[9]));
    }
    let envoy = Envoy::start(&binary, &server, api_type).await;
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
    server.put(Cluster, "s07", &eds_cluster("s07", 1));
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
