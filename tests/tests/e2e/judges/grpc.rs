//! gRPC libraries that read xDS themselves, as clients without proxy: C core (Python) and Node.
//!
//! The programs are `tests/judges/`; each calls the sample service `quotes` on a schedule and prints what came of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use contract::api::ProxyView;
use contract::registration::Protocol;
use lab::control_plane::ControlPlane;
use lab::parts;
use lab::placer::{ServiceSpec, Stop};
use lab::process::{Process, Program};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::scene::{RATE, Scene, TRADING, soon};

/// [`TRADING`] with other call policies, which are other clusters and routes for everyone.
const CHANGED: &str = "\
kind: System
name: trading
default_auth: none
services:
  quotes: {connect_timeout: 1s}
routes:
- {match: {prefix: /orders}, to: orders}
";

/// A gRPC library.
struct Library {
    /// How it names itself in `node.user_agent_name`.
    agent: &'static str,
    /// How it says that nobody has a name.
    missing: &'static str,
    program: Program,
}

fn judge(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("judges").join(file).display().to_string()
}

fn c_core(test: &str) -> Option<Library> {
    let python = parts::real_part_or_skip(test, "grpcio")?;
    let program = Program::new("client", &python).args([judge("grpc/client.py")]);
    Some(Library { agent: "gRPC C-core", missing: "does not exist", program })
}

fn node(test: &str) -> Option<Library> {
    let modules = parts::real_part_or_skip(test, "grpc-js")?;
    let program = Program::new("client", Path::new("/usr/bin/env"))
        .args(["node".to_owned(), judge("grpc-js/client.js")])
        .env("NODE_PATH", modules.display().to_string());
    Some(Library { agent: "gRPC Node", missing: "waiting for name resolution", program })
}

/// One address before all control planes, as a DNS name or a load balancer is: the first that accepts gets the
/// connection.
struct Front {
    address: SocketAddr,
    _connections: JoinSet<()>,
}

impl Front {
    async fn start(replicas: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut acceptor = JoinSet::new();
        acceptor.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(relay(client, replicas.clone()));
            }
        });
        Self { address, _connections: acceptor }
    }
}

/// Brings bytes to and from the first replica that accepts; a client that finds none is hung up on.
async fn relay(mut client: TcpStream, replicas: Vec<SocketAddr>) {
    for replica in replicas {
        if let Ok(mut server) = TcpStream::connect(replica).await {
            // Either end may go at any time: that is what is tested.
            copy_bidirectional(&mut client, &mut server).await.ok();
            return;
        }
    }
}

/// The bootstrap that `docs/xds.md` shows, for this client; it may call everything.
fn documented_bootstrap(id: &str, system: &str, control_plane: SocketAddr) -> Value {
    let page = include_str!("../../../../docs/xds.md");
    let (_, example) = page.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let mut bootstrap: Value = serde_json::from_str(example).unwrap();
    for (pointer, value) in [
        ("/xds_servers/0/server_uri", json!(control_plane.to_string())),
        ("/node/id", json!(id)),
        ("/node/metadata/mesh/system", json!(system)),
        ("/node/metadata/mesh/upstreams", Value::Null),
    ] {
        *bootstrap.pointer_mut(pointer).unwrap() = value;
    }
    bootstrap
}

/// What a client said last.
#[derive(Debug, Default)]
struct Sums {
    sent: u64,
    failed: BTreeMap<String, u64>,
    by_instance: BTreeMap<String, u64>,
}

impl Sums {
    fn read(line: &str) -> Option<Self> {
        let sums: Value = serde_json::from_str(line).ok()?;
        let counts = |key: &str| -> Option<BTreeMap<String, u64>> {
            let entries = sums.get(key)?.as_object()?.iter();
            entries.map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
        };
        Some(Self {
            sent: sums.get("sent")?.as_u64()?,
            failed: counts("failed")?,
            by_instance: counts("by_instance")?,
        })
    }
}

/// A client process.
struct Client {
    id: String,
    process: Process,
}

impl Client {
    /// Starts a client in a System that calls a name.
    fn start(scene: &Scene, library: &Library, front: &Front, system: &str, name: &str) -> Self {
        let id = format!("client-in-{system}");
        let bootstrap = documented_bootstrap(&id, system, front.address);
        let file = scene.dir().join(format!("{id}.json"));
        std::fs::write(&file, bootstrap.to_string()).unwrap();
        let mut program = library
            .program
            .clone()
            .args([format!("xds:///{name}"), RATE.to_string()])
            .env("GRPC_XDS_BOOTSTRAP", file.display().to_string());
        program.name.clone_from(&id);
        Self { id, process: Process::start(&program, scene.dir()).unwrap() }
    }

    fn sums(&self) -> Sums {
        let log = std::fs::read_to_string(self.process.log()).unwrap();
        log.lines().rev().find_map(Sums::read).unwrap_or_default()
    }

    /// Waits until each of these instances has answered it, and more often than it has by now.
    async fn is_answered_by(&mut self, instances: &[String]) {
        let before = self.sums().by_instance;
        let has_more =
            |now: &Sums| instances.iter().all(|one| now.by_instance.get(one) > before.get(one));
        soon(&format!("{} is answered by {instances:?}", self.id), async || {
            self.process.check().map_err(|error| lab::chain(&error))?;
            let now = self.sums();
            if has_more(&now) {
                Ok(())
            } else {
                Err(format!("{now:?}, {}", self.process.log().display()))
            }
        })
        .await;
    }

    /// Waits until the library has given up on a name that nobody has.
    async fn finds_nobody(&self, library: &Library) {
        soon(&format!("{} finds nobody", self.id), async || {
            let now = self.sums();
            let is_told = now.failed.keys().any(|reason| reason.contains(library.missing));
            if is_told && now.by_instance.is_empty() { Ok(()) } else { Err(format!("{now:?}")) }
        })
        .await;
    }

    /// Ends it and gives its last word.
    async fn end(mut self) -> Sums {
        self.process.stop(Duration::from_secs(20)).await.unwrap();
        self.sums()
    }
}

fn instances(scene: &Scene) -> Vec<String> {
    scene.world.instances_of("quotes").map(|one| one.instance().to_owned()).collect()
}

async fn answered_by_all(scene: &Scene, clients: &mut [Client]) {
    let instances = instances(scene);
    for client in clients {
        client.is_answered_by(&instances).await;
    }
}

/// Whether all clients are connected to this control plane.
async fn are_at(control_plane: &ControlPlane, clients: &[Client]) -> Result<(), String> {
    let proxies: Vec<ProxyView> =
        control_plane.get("/v1/proxies").await.map_err(|error| lab::chain(&error))?;
    let is_here = |client: &Client| proxies.iter().any(|proxy| proxy.id == client.id);
    if clients.iter().all(is_here) { Ok(()) } else { Err(format!("{proxies:?}")) }
}

/// Instances come, go and move; a document and a new service change routes; each control plane dies and returns.
async fn change_everything(scene: &mut Scene, quotes: &ServiceSpec, clients: &mut [Client]) {
    scene.world.place(&[quotes.clone(), quotes.clone()]).await.unwrap();
    answered_by_all(scene, clients).await;
    scene.world.remove("quotes", Stop::Drained).await.unwrap();
    scene.world.replace("quotes", Stop::Drained).await.unwrap();
    scene.world.replace("trading-gateway", Stop::Drained).await.unwrap();
    answered_by_all(scene, clients).await;
    let orders = scene.orders();
    scene.world.place(&[orders]).await.unwrap();
    scene.world.apply("trading", CHANGED).await.unwrap();
    scene.answers("/trading/orders/7", 200, "instance").await;
    for index in 0..scene.world.control_planes.len() {
        scene.world.control_planes.get_mut(index).unwrap().kill().await.unwrap();
        let other = scene.world.control_planes.get(1 - index).unwrap();
        soon("both clients have the other control plane", async || are_at(other, clients).await)
            .await;
        scene.world.replace("quotes", Stop::Drained).await.unwrap();
        answered_by_all(scene, clients).await;
        let back = scene.world.control_planes.get_mut(index).unwrap();
        back.start_again().unwrap();
        back.wait_ready().await.unwrap();
    }
    scene.world.apply("trading", TRADING).await.unwrap();
    scene.world.remove("orders", Stop::Drained).await.unwrap();
    answered_by_all(scene, clients).await;
}

/// Refusals that control planes have counted.
async fn nacks(scene: &Scene) -> Vec<String> {
    let mut nacks = Vec::new();
    for control_plane in &scene.world.control_planes {
        let metrics = control_plane.metrics().await.unwrap();
        let counted = metrics.lines().filter(|line| line.starts_with("mesh_xds_nacks_total"));
        nacks.extend(counted.filter(|line| !line.ends_with(" 0")).map(str::to_owned));
    }
    nacks
}

#[expect(clippy::print_stdout, reason = "the figures of the test")]
async fn calls_through_every_change(test: &str, library: Library) {
    let Some(mut scene) = Scene::with_consul(test, |_| ()).await else { return };
    let quotes =
        ServiceSpec::new("trading", "quotes", Protocol::Grpc, scene.parts.our("quotes").unwrap())
            .with_meta("mesh_path", "/quotes.v1.Quotes");
    let gateway = ServiceSpec::gateway("trading");
    scene.world.place(&[quotes.clone(), quotes.clone(), gateway]).await.unwrap();
    let replicas = scene.world.control_planes.iter().map(|one| one.xds());
    let front = Front::start(replicas.collect()).await;
    let mut clients = [
        Client::start(&scene, &library, &front, "trading", "quotes"),
        // Of another System: through the gateway.
        Client::start(&scene, &library, &front, "portfolio", "quotes.trading.mesh"),
    ];
    let astray = Client::start(&scene, &library, &front, "research", "nobody");
    answered_by_all(&scene, &mut clients).await;
    for client in &clients {
        let agent = scene.proxy(&client.id).await.unwrap().agent;
        assert!(agent.to_lowercase().starts_with(&library.agent.to_lowercase()), "{agent}");
    }
    change_everything(&mut scene, &quotes, &mut clients).await;
    astray.finds_nobody(&library).await;
    assert_eq!(nacks(&scene).await, Vec::<String>::new());
    for client in clients {
        let id = client.id.clone();
        let sums = client.end().await;
        println!("{}, {id}: {} calls, failed: {:?}", library.agent, sums.sent, sums.failed);
        assert!(sums.sent > 100 && sums.failed.is_empty(), "{id}: {sums:?}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_on_grpc_s_c_core_without_proxy_lose_no_call() {
    let test = "clients_on_grpc_s_c_core_without_proxy_lose_no_call";
    let Some(library) = c_core(test) else { return };
    calls_through_every_change(test, library).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_on_grpc_for_node_without_proxy_lose_no_call() {
    let test = "clients_on_grpc_for_node_without_proxy_lose_no_call";
    let Some(library) = node(test) else { return };
    calls_through_every_change(test, library).await;
}
