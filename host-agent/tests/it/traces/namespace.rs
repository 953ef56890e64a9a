//! An application in a network namespace of its own, as Nomad's bridge mode gives one: its sidecar offers it the host's agent at
//! the ports that OpenTelemetry and Zipkin take for granted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use contract::node::ProxyRole;
use lab::collector::Collector;
use lab::control_plane::{ControlPlane, Source};
use lab::envoy::{Envoy, ProxySpec};
use lab::http::Client;
use lab::netns::{NetNs, Network};
use lab::parts;
use lab::process::{Process, run};
use nix::sched::{CloneFlags, setns};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::agent::{SOON, configure, program};
use super::senders::{count, sdk};

/// Of the agent, on the host's side of the bridge; its own namespace has all ports.
const AGENT: u16 = 14317;
const ADMIN: u16 = 18020;
/// Of Envoy's admin interface.
const ENVOY: u16 = 9901;

/// Takes connections on loopback of a namespace and hands them to the collector, which is on this test's own.
fn door(netns: &NetNs, collector: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let path = format!("/run/netns/{}", netns.name());
    // A thread of its own, because it stays in the namespace until it ends; the socket works from anywhere.
    let bind = move || {
        setns(std::fs::File::open(path)?, CloneFlags::CLONE_NEWNET)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok::<_, std::io::Error>(listener)
    };
    let listener = std::thread::spawn(bind).join().unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut far = TcpStream::connect(collector).await.unwrap();
                // Either side may end it as it likes.
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    (address, tasks)
}

/// A sidecar that offers the agent, beside an application that only calls others.
fn sidecar(host: Ipv4Addr, xds: SocketAddr) -> ProxySpec {
    ProxySpec {
        role: ProxyRole::Sidecar,
        system: Some("trading".to_owned()),
        id: "alloc-quotes".to_owned(),
        cluster: "quotes".to_owned(),
        services: Vec::new(),
        ingress: None,
        egress: Some(15001),
        upstreams: None,
        bind: Ipv4Addr::UNSPECIFIED.into(),
        host: Some(IpAddr::V4(host)),
        agent: Some(AGENT),
        spans: vec![4317, 4318, 9411],
        stats: None,
        admin: ENVOY,
        xds: vec![xds],
        sotw: false,
        tls: None,
        trusted_hops: 0,
    }
}

/// An agent on the host's address, ready.
async fn agent(network: &Network, folder: &Path, back_end: SocketAddr) -> Process {
    let listen = SocketAddr::from((network.host_address(), AGENT));
    configure(folder, listen, ADMIN, &format!("grpc://{back_end}"), "");
    let mut agent =
        Process::start(&program(folder, 0).in_netns(Some(network.host())), folder).unwrap();
    let inside = Client::inside(Some(network.host()));
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, ADMIN));
    let ready = async || match inside.get(admin, "localhost", "/readyz").await {
        Ok(answer) if answer.status.is_success() => Ok(()),
        Ok(answer) => Err(answer.text()),
        Err(error) => Err(error.to_string()),
    };
    agent.until("the agent is ready", SOON, ready).await.unwrap();
    agent
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_in_a_namespace_finds_the_agent_at_the_usual_ports() {
    let test = "an_application_in_a_namespace_finds_the_agent_at_the_usual_ports";
    if let Err(why) = Network::is_possible() {
        return parts::skip(test, "netns", &why);
    }
    let Some(python) = parts::real_part_or_skip(test, "otel") else { return };
    let Some(parts) = parts::parts_or_skip(test, &["control-plane", "meshctl"]) else { return };
    let folder = TempDir::new().unwrap();
    let network = Network::create().unwrap();
    let (pair, _) = network.join().unwrap();
    let collector = Collector::start().await.unwrap();
    let (back_end, _door) = door(network.host(), collector.address());
    let mut agent = agent(&network, folder.path(), back_end).await;

    let documents = folder.path().join("documents");
    std::fs::create_dir(&documents).unwrap();
    let host = Some((network.host(), network.host_address()));
    let plane = parts.our("control-plane").unwrap();
    let source = Source::File(documents);
    let mut plane =
        ControlPlane::start(&plane, "control-plane", folder.path(), &source, host, None).unwrap();
    plane.wait_ready().await.unwrap();
    let spec = sidecar(network.host_address(), plane.xds());
    let bootstrap = spec.render(&parts.our("meshctl").unwrap()).await.unwrap();
    let mut envoy =
        Envoy::start(&parts.envoy, "envoy", folder.path(), &bootstrap, ENVOY, Some(&pair)).unwrap();
    envoy.wait_live().await.unwrap();

    // The SDK says that it is another instance: whose spans they are is the sidecar's to say.
    for (how, port) in [("grpc", 4317), ("http", 4318), ("json-gzip", 4318), ("zipkin", 9411)] {
        run(&sdk(&python, how, port).in_netns(Some(&pair))).await.unwrap();
    }
    count(&collector, 80).await;
    for span in collector.spans() {
        let said = ["service.name", "service.namespace", "mesh.allocation", "host.name"];
        let said = said.map(|name| span.resource.get(name).map(String::as_str));
        let expected = ["quotes", "trading", "alloc-quotes", "host-a"].map(Some);
        assert_eq!(said, expected, "{span:?}");
    }
    envoy.stop().await.unwrap();
    plane.stop().await.unwrap();
    assert!(agent.stop(SOON).await.unwrap().success(), "{}", agent.tail());
}
