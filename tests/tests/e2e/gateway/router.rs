//! What clients meet first: certificates, HTTP/3, who they are said to be, what is too much, and closed Systems.
#![expect(clippy::indexing_slicing, reason = "a test's failure is a panic")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use contract::node::{CertificateFiles, RouterTls};
use http::{Method, Request, header};
use lab::envoy::Envoy;
use lab::http::Answer;
use lab::parts;
use lab::placer::ServiceSpec;
use lab::process::{self, Program};
use lab::world::RouterSetup;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use self::browser::{Authority, Browser, Version, files, put};
use crate::scene::{LOCAL, Scene, soon};

mod browser;

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
        let (first, second) = (Authority::new(), Authority::new());
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
    renewal(&edge).await;
    quic(&edge, &python, &edge.second).await;
    clients(&edge).await;
    too_much(&edge).await;
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
        let mut shown = Vec::new();
        for host in [SHOP, DESK] {
            let mut connection = edge.browser.connect(host, version).await.unwrap();
            let answer = connection.get("/orders/7", &[]).await.unwrap();
            assert_eq!(answer.status, 200, "{version:?} {host}: {}", answer.text());
            assert_eq!(text(&answer, "alt-svc"), advertised);
            shown.push(connection.certificate.clone());
        }
        assert_ne!(shown[0], shown[1], "each host has its certificate");
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
    assert_eq!(said["headers"][":status"], "200", "{said}");
    let seen: Value = serde_json::from_str(said["body"].as_str().unwrap()).unwrap();
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!(seen["x-mesh-consumer"], Value::Null);
}

/// Requests at a steady pace while a certificate is renewed: on one connection, and on new ones.
struct Traffic {
    stop: watch::Sender<bool>,
    tasks: JoinSet<Vec<Result<(), String>>>,
}

impl Traffic {
    fn start(browser: &Browser) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for (version, stays) in [(Version::Two, true), (Version::One, true), (Version::Two, false)]
        {
            tasks.spawn(drive(browser.clone(), version, stays, stopped.clone()));
        }
        Self { stop, tasks }
    }

    /// How many requests were answered; none may be lost.
    async fn finish(self) -> usize {
        self.stop.send_replace(true);
        let outcomes = self.tasks.join_all().await.concat();
        let lost: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), outcomes.len());
        outcomes.len()
    }
}

async fn drive(
    browser: Browser,
    version: Version,
    stays: bool,
    stopped: watch::Receiver<bool>,
) -> Vec<Result<(), String>> {
    let mut pace = tokio::time::interval(Duration::from_millis(25));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection = browser.connect(SHOP, version).await.unwrap();
    let mut outcomes = Vec::new();
    while !*stopped.borrow() {
        pace.tick().await;
        let exchange = async {
            if !stays {
                connection = browser.connect(SHOP, version).await?;
            }
            connection.get("/orders/7", &[]).await
        };
        outcomes.push(match exchange.await {
            Ok(answer) if answer.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.text())),
            Err(error) => Err(error.to_string()),
        });
    }
    outcomes
}

async fn renewal(edge: &Edge) {
    let shown = async || {
        let connection = edge.browser.connect(SHOP, Version::Two).await;
        connection.map(|connection| connection.certificate).map_err(|error| error.to_string())
    };
    let refused = async || edge.router.sum("key_rotation_failed$").await.unwrap();
    let traffic = Traffic::start(&edge.browser);

    let new = edge.second.issue(SHOP, &edge.shop);
    soon("new connections are shown the new certificate", async || match shown().await? {
        certificate if certificate == new => Ok(()),
        _ => Err("the old one".to_owned()),
    })
    .await;

    let before = refused().await;
    put(&edge.shop.chain, "-----BEGIN CERTIFICATE-----\nno certificate\n");
    soon("the Router has refused the broken file", async || match refused().await {
        count if count > before => Ok(()),
        count => Err(format!("{count} refused")),
    })
    .await;
    assert_eq!(shown().await.unwrap(), new, "what worked last is kept");
    // Mended, it is taken again.
    let mended = edge.second.issue(SHOP, &edge.shop);
    soon("new connections are shown the mended certificate", async || match shown().await? {
        certificate if certificate == mended => Ok(()),
        _ => Err("the one before".to_owned()),
    })
    .await;
    let answered = traffic.finish().await;
    assert!(answered > 20, "{answered} requests");
}

/// What services are told of a client, and what a client cannot tell them.
async fn clients(edge: &Edge) {
    let forged = [
        ("x-forwarded-for", "6.6.6.6, 203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "outer.example.com"),
        ("x-forwarded-prefix", "/evil"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=6.6.6.6"),
        ("x-real-ip", "6.6.6.6"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-mesh-caller-system", "portfolio"),
        ("x_mesh_caller_system", "portfolio"),
        ("x-mesh-caller-service", "positions"),
        ("x-mesh-consumer", "mallory"),
        ("x-mesh-auth", "customers"),
        ("x-mesh-hops", "a,b,c,d,e,f,g,h,i"),
        ("x-mesh-convert", "quotes"),
    ];
    let told = |answer: &Answer| -> BTreeMap<String, String> {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let all: BTreeMap<String, String> = serde_json::from_slice(&answer.body).unwrap();
        let is_told = |name: &String| {
            let name = name.replace('_', "-");
            name.starts_with("x-forwarded")
                || name.starts_with("x-mesh")
                || name == "forwarded"
                || name == "x-real-ip"
                || name == "x-envoy-upstream-rq-timeout-ms"
        };
        all.into_iter().filter(|(name, _)| is_told(name)).collect()
    };
    let expect = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let own = edge.scene.world.router_address();
    let by_path = edge.ask(own, "/trading/headers", &forged).await;
    assert_eq!(
        told(&by_path),
        expect(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", LOCAL),
            ("x-forwarded-prefix", "/trading"),
            ("x-forwarded-proto", "http"),
            ("x-mesh-hops", "trading"),
        ])
    );
    let by_host = edge.browser.get(SHOP, Version::Two, "/headers", &forged).await;
    assert_eq!(
        told(&by_host),
        expect(&[
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", SHOP),
            ("x-forwarded-proto", "https"),
            ("x-mesh-hops", "trading"),
        ])
    );

    let behind = RouterSetup { trusted_hops: 1, ..RouterSetup::plain("behind", local()) };
    let router = edge.scene.world.start_router(&behind).await.unwrap();
    let through_proxy = edge.ask(behind.address, "/trading/headers", &forged).await;
    let told = told(&through_proxy);
    assert_eq!(
        told.iter()
            .filter(|(name, _)| name.starts_with("x-forwarded") || name.contains("mesh"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>(),
        expect(&[
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "outer.example.com"),
            ("x-forwarded-port", "1"),
            ("x-forwarded-prefix", "/trading"),
            ("x-forwarded-proto", "https"),
            ("x-mesh-hops", "trading"),
        ])
    );
    drop(router);
}

async fn too_much(edge: &Edge) {
    let names: Vec<String> = (0..120).map(|number| format!("x-filler-{number}")).collect();
    let own = edge.scene.world.router_address();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let (large, too_large) = ("x".repeat(50 * 1024), "x".repeat(70 * 1024));
    for (headers, status) in [
        (&many[..70], 200),
        (&many[..], 431),
        (&[("x-filler", large.as_str())][..], 200),
        (&[("x-filler", too_large.as_str())][..], 431),
    ] {
        let answer = edge.ask(own, "/trading/orders/7", headers).await;
        assert_eq!(answer.status, status, "{} headers: {}", headers.len(), answer.text());
    }
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
