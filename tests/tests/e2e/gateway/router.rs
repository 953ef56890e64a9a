//! What clients meet first: certificates, HTTP/3, who they are said to be, what is too much, and closed Systems.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use bytes::Bytes;
use contract::node::{CertificateFiles, RouterTls};
use http::{Method, Request, header};
use lab::envoy::Envoy;
use lab::http::Answer;
use lab::parts;
use lab::placer::ServiceSpec;
use lab::process::{self, Program};
use lab::world::RouterSetup;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use self::browser::{Authority, Browser, Version, files};
use crate::scene::{LOCAL, Scene, soon};

mod browser;
mod clients;
mod renewal;

const SHOP: &str = "shop.example.com";
const DESK: &str = "desk.example.com";

const DOCUMENT: &str = "\
kind: System
name: trading
hosts: [shop.example.com, desk.example.com]
default_auth: none
routes:
- {match: {prefix: /}, to: orders}
";

/// A mesh with an encrypted Router beside its own, which is plain.
struct Edge {
    scene: Scene,
    router: Envoy,
    plain: SocketAddr,
    tls: SocketAddr,
    shop: CertificateFiles,
    first: Authority,
    second: Authority,
    browser: Browser,
}

fn local() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, lab::ports::reserve().unwrap()))
}

impl Edge {
    async fn open(test: &str) -> Option<Self> {
        let mut scene = Scene::with_consul(test, |options| options.control_planes = 1).await?;
        let services = [scene.orders(), ServiceSpec::gateway("trading")];
        scene.world.place(&services).await.unwrap();
        scene.world.apply("trading", DOCUMENT).await.unwrap();
        scene.answers("/trading/orders/7", 200, "instance").await;
        let (first, second) = (Authority::new("first"), Authority::new("second"));
        let certificates = [SHOP, DESK].map(|host| files(scene.dir(), host));
        let [shop, desk] = &certificates;
        first.issue(SHOP, shop);
        first.issue(DESK, desk);
        let (plain, tls) = (local(), local());
        let shop = shop.clone();
        let certificates = certificates.to_vec();
        let setup = RouterSetup {
            tls: Some(RouterTls { port: tls.port(), certificates, http3: true }),
            ..RouterSetup::plain("edge", plain)
        };
        let router = scene.world.start_router(&setup).await.unwrap();
        let browser = Browser::new(tls, &[&first, &second]);
        let edge = Self { scene, router, plain, tls, shop, first, second, browser };
        soon("the encrypted Router answers", async || {
            let mut connection =
                edge.browser.connect(SHOP, Version::One).await.map_err(|e| e.to_string())?;
            let answer = connection.get("/orders/7", &[]).await.map_err(|e| e.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        Some(edge)
    }

    async fn ask(&self, address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = Request::get(path).header(header::HOST, LOCAL);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.scene.world.client().exchange(address, request, Bytes::new()).await.unwrap()
    }
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_serves_clients_over_tls_and_quic_and_says_who_they_are() {
    let test = "the_router_serves_clients_over_tls_and_quic_and_says_who_they_are";
    let Some(python) = parts::real_part_or_skip(test, "aioquic") else { return };
    let Some(edge) = Edge::open(test).await else { return };
    plain_port(&edge).await;
    protocols(&edge).await;
    quic(&edge, &python, &edge.first).await;
    renewal::check(&edge).await;
    quic(&edge, &python, &edge.second).await;
    clients::check(&edge).await;
    closed(&edge).await;
    let faults = edge.router.config_faults().await.unwrap();
    assert_eq!(faults, Vec::<(String, u64)>::new());
    edge.scene.end().await;
}

/// Clients are sent to the encrypted port: method, path, and query stay.
async fn plain_port(edge: &Edge) {
    for method in [Method::GET, Method::POST] {
        let path = "/orders/7?side=buy&x=%2F";
        let client = edge.scene.world.client();
        let body = Bytes::from_static(b"a body");
        let answer = client.send(edge.plain, SHOP, method, path, body).await.unwrap();
        let there = format!("https://{SHOP}:{}{path}", edge.tls.port());
        assert_eq!((answer.status.as_u16(), text(&answer, "location")), (308, there.as_str()));
    }
}

async fn protocols(edge: &Edge) {
    let advertised = format!("h3=\":{}\"; ma=86400", edge.tls.port());
    for version in [Version::One, Version::Two] {
        let mut shown = BTreeSet::new();
        for host in [SHOP, DESK] {
            let mut connection = edge.browser.connect(host, version).await.unwrap();
            let answer = connection.get("/orders/7", &[]).await.unwrap();
            assert_eq!(answer.status, 200, "{version:?} {host}: {}", answer.text());
            assert_eq!(text(&answer, "alt-svc"), advertised);
            shown.insert(connection.certificate.to_vec());
        }
        assert_eq!(shown.len(), 2, "each host has its certificate");
    }
}

/// A QUIC client that is not ours, and trusts one authority.
async fn quic(edge: &Edge, python: &Path, trusted: &Authority) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges/aioquic/client.py");
    let roots = edge.scene.dir().join("roots.pem");
    std::fs::write(&roots, trusted.pem()).unwrap();
    let client = Program::new("aioquic", python).args([
        script.display().to_string(),
        edge.tls.ip().to_string(),
        edge.tls.port().to_string(),
        SHOP.to_owned(),
        roots.display().to_string(),
        "/headers".to_owned(),
        "x-mesh-consumer=mallory".to_owned(),
    ]);
    let said: Value = serde_json::from_str(&process::run(&client).await.unwrap()).unwrap();
    assert_eq!(said.pointer("/headers/:status"), Some(&json!("200")), "{said}");
    let body = said.pointer("/body").and_then(Value::as_str).unwrap();
    let seen: BTreeMap<String, String> = serde_json::from_str(body).unwrap();
    assert_eq!(seen.get("x-forwarded-proto").map(String::as_str), Some("https"));
    assert_eq!(seen.get("x-mesh-consumer"), None);
}

/// A System is closed and opened again; connections and requests under way do not notice.
async fn closed(edge: &Edge) {
    let mut kept = edge.browser.connect(SHOP, Version::One).await.unwrap();
    assert_eq!(kept.get("/orders/7", &[]).await.unwrap().status, 200);
    let mut waiting = edge.browser.connect(DESK, Version::Two).await.unwrap();
    let mut under_way = JoinSet::new();
    under_way.spawn(async move { waiting.get("/slow?ms=4000", &[]).await.unwrap().status });

    let notice =
        "maintenance: {message: \"100% <b>closed</b> until 10:00 & back\", retry_after: 90s}\n";
    edge.scene.world.apply("trading", &format!("{DOCUMENT}{notice}")).await.unwrap();
    edge.scene.answers("/trading/orders/7", 503, "closed").await;
    soon("the other Router says it too", async || {
        let answer = kept.get("/any/path", &[]).await.map_err(|error| error.to_string())?;
        if answer.status == 503 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    let plain = kept.get("/any/path", &[("accept", "application/json")]).await.unwrap();
    assert_eq!(plain.text(), "100% <b>closed</b> until 10:00 & back\n");
    assert_eq!(text(&plain, "content-type"), "text/plain; charset=utf-8");
    let accept = "text/html,application/xhtml+xml,*/*;q=0.8";
    let page = kept.get("/", &[("accept", accept)]).await.unwrap();
    assert!(page.text().contains("<p>100% &lt;b&gt;closed&lt;/b&gt; until 10:00 &amp; back</p>"));
    assert_eq!(text(&page, "content-type"), "text/html; charset=utf-8");
    for answer in [&plain, &page] {
        assert_eq!((answer.status.as_u16(), text(answer, "retry-after")), (503, "90"));
    }
    assert_eq!(under_way.join_next().await.unwrap().unwrap(), 200, "what was under way goes on");

    edge.scene.world.apply("trading", DOCUMENT).await.unwrap();
    soon("the connection that was kept is served again", async || {
        let answer = kept.get("/orders/7", &[]).await.map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
