//! Envoy in several minor versions: a whole mesh of each, under load through every kind of change.

use std::path::PathBuf;
use std::time::Duration;

use contract::api::ProxyView;
use contract::registration::Protocol;
use lab::envoy::Envoy;
use lab::load::{Call, Load, LoadReport, LoadSpec};
use lab::parts;
use lab::placer::{Allocation, ServiceSpec, Stop};
use lab::ports;
use tokio::time::Instant;

use crate::gateway::routes;
use crate::scene::{LOCAL, RATE, Scene, TRADING, folder, soon};

/// Each mesh has two loads, and three meshes share the machine.
const EACH: u32 = RATE / 2;

/// [`TRADING`] with other routes and another way to call `orders`.
const CHANGED: &str = "\
kind: System
name: trading
default_auth: none
hosts: [trading.example.com]
routes:
- {match: {path: /orders/7}, to: orders, timeout: 10s, retries: {on: [connect-failure], attempts: 1}}
- {match: {prefix: /slow}, to: orders, timeout: 12s}
- {match: {path: /orders/9}, to: audit}
";

/// A mesh whose Envoys are all of one version, and what is sent through it.
struct Court {
    scene: Scene,
    loads: Vec<Load>,
}

impl Court {
    async fn start(test: &str, envoy: PathBuf, sotw: bool) -> Option<Self> {
        let mut scene = Scene::trading(test, 2, |options| {
            options.parts.envoy = envoy;
            options.sotw = sotw;
        })
        .await?;
        let quotes = scene.parts.our("quotes").unwrap();
        let quotes = ServiceSpec::new("trading", "quotes", Protocol::Grpc, quotes);
        scene.world.place(&[quotes]).await.unwrap();
        scene.call_answers("quotes", "orders", "/orders/7", 200, "instance").await;
        let (client, egress) =
            scene.world.instances_of("quotes").next().and_then(Allocation::egress).unwrap();
        let spec = LoadSpec {
            client: scene.world.client().clone(),
            address: scene.world.router_address(),
            host: LOCAL.to_owned(),
            // A POST is never sent twice: what is lost is seen.
            path: "/trading/slow?ms=50".to_owned(),
            call: Call::Post,
            rate: EACH,
            timeout: Duration::from_secs(15),
        };
        let between = LoadSpec {
            client,
            address: egress,
            host: "orders".to_owned(),
            path: "/slow?ms=50".to_owned(),
            ..spec.clone()
        };
        let loads = vec![Load::start(spec), Load::start(between)];
        Some(Self { scene, loads })
    }

    /// Instances come, go and move.
    async fn instances(&mut self) {
        let world = &mut self.scene.world;
        let orders = world.instances_of("orders").next().unwrap().spec().clone();
        world.place(&[orders.clone(), orders]).await.unwrap();
        world.remove("orders", Stop::Drained).await.unwrap();
        world.replace("orders", Stop::Drained).await.unwrap();
        world.replace("trading-gateway", Stop::Drained).await.unwrap();
    }

    /// Routes, timeouts, retries and hosts change, a service that is new to everyone comes, and all is taken back.
    async fn routes(&mut self) {
        let audit = self.scene.sample("audit", Protocol::Http);
        self.scene.world.place(&[audit]).await.unwrap();
        self.scene.call_answers("quotes", "audit", "/orders/1", 200, "instance").await;
        self.scene.world.apply("trading", CHANGED).await.unwrap();
        let audit = self.scene.world.instances_of("audit").next().unwrap().instance().to_owned();
        self.scene.answers("/trading/orders/9", 200, &audit).await;
        self.scene.answers("/trading/orders/8", 404, "exposes nothing").await;
        self.scene.world.apply("trading", routes::DOCUMENT).await.unwrap();
        self.scene.answers("/trading/teapot", 418, "teapot").await;
        self.scene.world.apply("trading", TRADING).await.unwrap();
        self.scene.answers("/trading/orders/8", 200, "instance").await;
        self.scene.world.remove("audit", Stop::Drained).await.unwrap();
        self.scene.call_answers("quotes", "audit", "/orders/1", 404, "audit").await;
    }

    /// Each control plane dies without warning and returns; between, an instance moves.
    async fn control_planes(&mut self) {
        let world = &mut self.scene.world;
        for index in 0..world.control_planes.len() {
            world.control_planes.get_mut(index).unwrap().kill().await.unwrap();
            world.replace("orders", Stop::Drained).await.unwrap();
            let back = world.control_planes.get_mut(index).unwrap();
            back.start_again().unwrap();
            back.wait_ready().await.unwrap();
        }
    }

    /// What every connected proxy says it is.
    async fn agents(&self) -> Vec<String> {
        let proxies = self.scene.world.allocations.len() + 1;
        soon("every proxy is connected", async || {
            let mut agents = Vec::new();
            for control_plane in &self.scene.world.control_planes {
                let views: Vec<ProxyView> =
                    control_plane.get("/v1/proxies").await.map_err(|error| lab::chain(&error))?;
                agents.extend(views.into_iter().map(|proxy| proxy.agent));
            }
            if agents.len() == proxies { Ok(agents) } else { Err(format!("{agents:?}")) }
        })
        .await
    }

    /// Ends the loads and the mesh; the Envoys themselves must have nothing to complain of.
    async fn end(mut self) -> Vec<LoadReport> {
        let mut reports = Vec::new();
        for mut load in self.loads.drain(..) {
            load.until_more_sent(EACH.into()).await;
            reports.push(load.finish().await.unwrap());
        }
        self.scene.end().await;
        reports
    }
}

/// One version of Envoy through everything.
#[expect(clippy::print_stdout, reason = "the figures of the test")]
async fn judge(test: &str, version: &str, envoy: PathBuf, sotw: bool) {
    let began = Instant::now();
    let Some(mut court) = Court::start(test, envoy, sotw).await else { return };
    court.instances().await;
    court.routes().await;
    court.control_planes().await;
    let agents = court.agents().await;
    assert!(agents.iter().all(|agent| agent == &format!("envoy {version}")), "{agents:?}");
    let reports = court.end().await;
    let mode = if sotw { "state of the world" } else { "delta" };
    for (from, report) in ["Router", "sidecar"].iter().zip(&reports) {
        println!("Envoy {version}, {mode}, from the {from}: {report}");
        assert!(report.sent > 100 && report.lost() == 0, "{version} from the {from}: {report}");
    }
    println!(
        "Envoy {version}, {mode}: {} proxies, 0 updates refused or waited for in vain, 0 deprecated fields, {:?}",
        agents.len(),
        began.elapsed()
    );
}

async fn every_version(test: &str, sotw: bool) {
    let Some(versions) = parts::envoy_versions_or_skip(test) else { return };
    let judges = versions
        .into_iter()
        .map(|(version, envoy)| async move { judge(test, &version, envoy, sotw).await });
    futures::future::join_all(judges).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_envoy_bears_every_change_in_delta_mode() {
    every_version("every_version_of_envoy_bears_every_change_in_delta_mode", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_version_of_envoy_bears_every_change_in_state_of_the_world_mode() {
    every_version("every_version_of_envoy_bears_every_change_in_state_of_the_world_mode", true)
        .await;
}

/// One cluster and one listener, each with a field that is deprecated in every version.
const DEPRECATED: [(&str, &str); 2] = [
    (
        "cds",
        r#"{"resources": [{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "old", "type": "STATIC", "connect_timeout": "1s", "http2_protocol_options": {}}]}"#,
    ),
    (
        "lds",
        r#"{"resources": [{"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "old",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "old",
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                    "match": {"prefix": "/", "headers": [{"name": "a", "exact_match": "b"}]},
                    "direct_response": {"status": 200}}]}]},
                "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}]}"#,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_envoy_of_the_lab_refuses_an_update_with_a_deprecated_field() {
    let test = "every_envoy_of_the_lab_refuses_an_update_with_a_deprecated_field";
    let Some(versions) = parts::envoy_versions_or_skip(test) else { return };
    let dir = folder();
    let sources = DEPRECATED.map(|(kind, resources)| {
        let file = dir.path().join(format!("{kind}.json"));
        std::fs::write(&file, resources).unwrap();
        format!(r#""{kind}_config": {{"path_config_source": {{"path": {file:?}}}}}"#)
    });
    for (version, binary) in versions {
        let admin = ports::reserve().unwrap();
        let bootstrap = format!(
            r#"{{"node": {{"id": "old", "cluster": "old"}}, "dynamic_resources": {{{}}},
                "admin": {{"address": {{"socket_address": {{"address": "127.0.0.1", "port_value": {admin}}}}}}}}}"#,
            sources.join(", ")
        );
        let mut envoy =
            Envoy::start(&binary, &format!("envoy-{version}"), dir.path(), &bootstrap, admin, None)
                .unwrap();
        for stat in ["cluster_manager.cds.update_rejected", "listener_manager.lds.update_rejected"]
        {
            soon(&format!("Envoy {version} counts {stat}"), async || {
                match envoy.sum(&format!("^{stat}$")).await {
                    Ok(1) => Ok(()),
                    Ok(count) => Err(count.to_string()),
                    Err(error) => Err(lab::chain(&error)),
                }
            })
            .await;
        }
        envoy.stop().await.unwrap();
    }
}
