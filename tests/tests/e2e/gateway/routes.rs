//! Every match and every outcome of a document's routes, by requests through Router and gateway, and from a sidecar.
#![expect(clippy::indexing_slicing, reason = "a test's failure is a panic")]

use std::collections::BTreeMap;

use bytes::Bytes;
use contract::gateway::{GatewayRoutes, MESH_HOST, ROUTES_PATH};
use contract::registration::Protocol;
use http::{Method, Request, header};
use lab::http::Answer;
use lab::placer::{Allocation, ServiceSpec};
use serde_json::{Value, json};

use super::{retries, smuggling, spelling};
use crate::scene::{LOCAL, Scene, soon};

/// A document with every feature of routes; the service `audit` is another instance of the program `orders`.
pub(crate) const DOCUMENT: &str = r#"
kind: System
name: trading
hosts: [trading.example.com, '*.trading.example.com']
callers: [portfolio]
auth:
  staff: {jwt: {issuer: https://id.example.com, jwks: {url: http://127.0.0.1:9/keys}}}
default_auth: none
cors: {origins: [https://app.example.com], methods: [GET, PUT], headers: [x-app], expose: [x-note], credentials: true, max_age: 10m}
routes:
- {match: {path: /exact}, to: orders, rewrite: /echo/exact}
- {match: {prefix: /strip}, to: orders, rewrite: /}
- {match: {prefix: /move}, to: orders, rewrite: /echo/moved}
- {match: {template: '/users/{id}/orders/{order}'}, to: orders, rewrite: '/echo/{order}/of/{id}'}
- {match: {template: '/files/{rest=**}'}, to: orders, rewrite: '/echo/{rest}'}
- {match: {regex: '/echo/v[0-9]+'}, to: audit}
- {match: {prefix: /echo/host, hosts: [a.trading.example.com]}, to: audit}
- {match: {prefix: /echo/host, hosts: ['*.trading.example.com']}, answer: {status: 202, body: some other host}}
- {match: {path: /echo/method, methods: [POST, PUT]}, to: audit, retries: {on: [5xx], attempts: 2}}
- {match: {path: /echo/header, headers: {x-kind: a}}, to: audit}
- {match: {path: /echo/header, headers: {x-kind: {prefix: b-}, x-not: false}}, to: audit}
- {match: {path: /echo/header, headers: {x-kind: {regex: '[0-9]+'}, x-there: true}}, to: audit}
- {match: {path: /echo/query, query: {kind: a}}, to: audit}
- {match: {path: /echo/query, query: {kind: {prefix: b-}, not: false}}, to: audit}
- {match: {path: /echo/query, query: {kind: {regex: '[0-9]+'}, there: true}}, to: audit}
- {match: {prefix: /echo/split}, to: {orders: 50, audit: 50}}
- {match: {path: /old}, redirect: {path: /echo/new}}
- {match: {prefix: /older}, redirect: {prefix: /echo, status: 301}}
- {match: {prefix: /away}, redirect: {host: other.example.org, status: 307}}
- {match: {path: /teapot}, answer: {status: 418, body: '{"i am": "100% teapot"}', content_type: application/json}}
- {match: {path: /gone}, answer: {status: 410}}
- match: {prefix: /echo/edited}
  to: orders
  headers:
    request: {set: {x-set: '50% of %REQ(x-secret)%'}, add: {x-added: second}, remove: [x-secret]}
    response: {set: {x-note: noted}, remove: [x-powered-by]}
- {match: {path: /quick}, to: orders, rewrite: /slow, timeout: 300ms}
- {match: {prefix: /slow}, to: orders}
- {match: {prefix: /status}, to: orders, retries: {on: [5xx], attempts: 2}}
- {match: {path: /echo/copied}, to: orders, mirror: {to: audit}}
- {match: {prefix: /echo/small}, to: orders, compress: true}
- {match: {path: /events}, to: orders, compress: true}
- {match: {path: /ws}, to: orders}
- {match: {prefix: /quotes.v1.Quotes}, to: quotes, cors: {origins: ['https://*.example.org']}}
- {match: {prefix: /echo/admin}, to: orders, auth: staff}
- {match: {prefix: /echo}, to: orders}
"#;

/// A mesh with [`DOCUMENT`] in force, asked along its routes.
struct Court {
    scene: Scene,
    orders: String,
    audit: String,
}

impl Court {
    async fn start(test: &str) -> Option<Self> {
        let mut scene = Scene::with_consul(test, |options| options.control_planes = 1).await?;
        let quotes = scene.parts.our("quotes").unwrap();
        let services = [
            scene.orders(),
            scene.sample("audit", Protocol::Http),
            ServiceSpec::new("trading", "quotes", Protocol::Grpc, quotes),
            ServiceSpec::api_gateway("trading"),
            ServiceSpec::new(
                "portfolio",
                "reader",
                Protocol::Http,
                scene.parts.our("orders").unwrap(),
            ),
        ];
        scene.world.place(&services).await.unwrap();
        scene.world.apply("trading", DOCUMENT).await.unwrap();
        scene.answers("/trading/echo/ready", 200, "ready").await;
        let instance = |name| scene.world.instances_of(name).next().unwrap().instance().to_owned();
        let (orders, audit) = (instance("orders"), instance("audit"));
        Some(Self { scene, orders, audit })
    }

    /// Asks the Router, below the System's name.
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_host(LOCAL, method, &format!("/trading{path}"), headers).await
    }

    async fn ask_host(
        &self,
        host: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let router = self.scene.world.router_address();
        self.scene.world.client().exchange(router, request, Bytes::new()).await.unwrap()
    }

    /// What the service that answered saw.
    async fn seen(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Value {
        let answer = self.ask(method, path, headers).await;
        assert_eq!(answer.status, 200, "{method} {path} {headers:?}: {}", answer.text());
        answer.json().unwrap()
    }

    /// Which path the service `orders` saw.
    async fn path(&self, path: &str) -> String {
        let seen = self.seen("GET", path, &[]).await;
        assert_eq!(seen["instance"], self.orders, "{path}: {seen}");
        seen["path"].as_str().unwrap().to_owned()
    }

    /// Whether `audit` answered; `orders` otherwise.
    async fn is_audit(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> bool {
        let seen = self.seen(method, path, headers).await;
        assert!(seen["instance"] == self.orders || seen["instance"] == self.audit, "{seen}");
        seen["instance"] == self.audit
    }
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_feature_of_a_route_works_through_router_and_gateway() {
    let test = "every_feature_of_a_route_works_through_router_and_gateway";
    let Some(court) = Court::start(test).await else { return };
    paths(&court).await;
    conditions(&court).await;
    shares(&court).await;
    redirects(&court).await;
    answers(&court).await;
    headers(&court).await;
    copies(&court).await;
    browsers(&court).await;
    compression(&court).await;
    streams(&court).await;
    other_systems(&court).await;
    listing(&court).await;
    retries::check(&court.scene).await;
    spelling::check(&court.scene).await;
    smuggling::check(&court.scene).await;
    court.scene.end().await;
}

async fn paths(court: &Court) {
    for (asked, seen) in [
        ("/exact", "/echo/exact"),
        ("/exact?q=1", "/echo/exact"),
        ("/strip/echo/7", "/echo/7"),
        ("/strip/echo", "/echo"),
        ("/move", "/echo/moved"),
        ("/move/7", "/echo/moved/7"),
        ("/users/7/orders/9", "/echo/9/of/7"),
        ("/files/a/b", "/echo/a/b"),
        ("/echo/plain", "/echo/plain"),
    ] {
        assert_eq!(court.path(asked).await, seen, "{asked}");
    }
    assert!(court.is_audit("GET", "/echo/v12", &[]).await);
    assert!(!court.is_audit("GET", "/echo/v12/x", &[]).await);
    for nothing in ["/exact/below", "/stripped", "/users/7/orders", "/files"] {
        let answer = court.ask("GET", nothing, &[]).await;
        assert_eq!(answer.status, 404, "{nothing}: {}", answer.text());
    }
}

async fn conditions(court: &Court) {
    for (method, path, headers, audit) in [
        ("POST", "/echo/method", &[][..], true),
        ("PUT", "/echo/method", &[], true),
        ("GET", "/echo/method", &[], false),
        ("GET", "/echo/header", &[("x-kind", "a")], true),
        ("GET", "/echo/header", &[("x-kind", "ab")], false),
        ("GET", "/echo/header", &[("x-kind", "b-1")], true),
        ("GET", "/echo/header", &[("x-kind", "b-1"), ("x-not", "1")], false),
        ("GET", "/echo/header", &[("x-kind", "17"), ("x-there", "")], true),
        ("GET", "/echo/header", &[("x-kind", "17")], false),
        ("GET", "/echo/query?kind=a", &[], true),
        ("GET", "/echo/query?kind=ab", &[], false),
        ("GET", "/echo/query?kind=b-1", &[], true),
        ("GET", "/echo/query?kind=b-1&not", &[], false),
        ("GET", "/echo/query?kind=17&there", &[], true),
        ("GET", "/echo/query?kind=17", &[], false),
    ] {
        assert_eq!(
            court.is_audit(method, path, headers).await,
            audit,
            "{method} {path} {headers:?}"
        );
    }
    let at = async |host| court.ask_host(host, "GET", "/echo/host", &[]).await;
    let answer = at("a.trading.example.com").await;
    assert_eq!(answer.json().unwrap()["instance"], court.audit);
    let answer = at("A.Trading.Example.com:8080").await;
    assert_eq!(answer.json().unwrap()["instance"], court.audit);
    assert_eq!(at("b.trading.example.com").await.status, 202);
    let answer = at("trading.example.com").await;
    assert_eq!(answer.json().unwrap()["instance"], court.orders);
}

async fn shares(court: &Court) {
    let mut counts: BTreeMap<bool, u32> = BTreeMap::new();
    for _ in 0..60 {
        *counts.entry(court.is_audit("GET", "/echo/split", &[]).await).or_default() += 1;
    }
    // One share of a half: 60 requests give fewer than ten in one of 10⁸ runs.
    assert!(counts.len() == 2 && counts.values().all(|count| *count > 9), "{counts:?}");
}

async fn redirects(court: &Court) {
    for (host, path, status, location) in [
        (LOCAL, "/trading/old?q=1", 308, "http://localhost/trading/echo/new?q=1"),
        ("trading.example.com", "/old", 308, "http://trading.example.com/echo/new"),
        (LOCAL, "/trading/older/7", 301, "http://localhost/trading/echo/7"),
        ("trading.example.com", "/older/7?q", 301, "http://trading.example.com/echo/7?q"),
        ("trading.example.com", "/away/x", 307, "http://other.example.org/away/x"),
    ] {
        let answer = court.ask_host(host, "GET", path, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), text(&answer, "location")),
            (status, location),
            "{path}"
        );
    }
}

async fn answers(court: &Court) {
    let answer = court.ask("GET", "/teapot", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str(), text(&answer, "content-type")),
        (418, r#"{"i am": "100% teapot"}"#, "application/json")
    );
    let answer = court.ask("GET", "/gone", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (410, ""));
    // The instance would answer in time without the route's limit.
    let answer = court.ask("GET", "/quick?ms=1000", &[]).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
}

async fn headers(court: &Court) {
    let sent = [("x-secret", "s3cret"), ("x-added", "first"), ("x-set", "theirs")];
    let seen = court.seen("GET", "/echo/edited", &sent).await;
    let of = |name: &str| &seen["headers"][name];
    assert_eq!(of("x-set"), &json!(["50% of %REQ(x-secret)%"]));
    assert_eq!(of("x-added"), &json!(["first", "second"]));
    assert_eq!(of("x-secret"), &Value::Null);
    let answer = court.ask("GET", "/echo/edited", &[]).await;
    assert_eq!(text(&answer, "x-note"), "noted");
}

async fn copies(court: &Court) {
    let gateway = court.scene.world.instances_of("trading-gateway").next().unwrap().envoy();
    let counter = "^cluster\\.service_trading/audit\\.upstream_rq_total$";
    let before = gateway.sum(counter).await.unwrap();
    for _ in 0..5 {
        assert!(!court.is_audit("GET", "/echo/copied", &[]).await);
    }
    soon("audit got a copy of each", async || match gateway.sum(counter).await.unwrap() - before {
        5 => Ok(()),
        other => Err(format!("{other} copies")),
    })
    .await;
}

async fn browsers(court: &Court) {
    let preflight = async |path, origin, method| {
        let asks = [("origin", origin), ("access-control-request-method", method)];
        court.ask("OPTIONS", path, &asks).await
    };
    let app = "https://app.example.com";
    // Also for a route that takes POST and PUT alone, and for one that asks for a token.
    for (path, method) in [("/echo/plain", "GET"), ("/echo/method", "PUT"), ("/echo/admin", "GET")]
    {
        let answer = preflight(path, app, method).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        for (name, value) in [
            ("access-control-allow-origin", app),
            ("access-control-allow-methods", "GET,PUT"),
            ("access-control-allow-headers", "x-app"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(text(&answer, name), value, "{path} {name}");
        }
    }
    let answer = preflight("/echo/plain", "https://evil.example", "GET").await;
    assert_eq!(text(&answer, "access-control-allow-origin"), "");
    assert!(!answer.text().contains(&court.orders), "{}", answer.text());
    let answer = court.ask("GET", "/echo/edited", &[("origin", app)]).await;
    assert_eq!(text(&answer, "access-control-allow-origin"), app);
    assert_eq!(text(&answer, "access-control-expose-headers"), "x-note");
    let answer = court.ask("GET", "/echo/plain", &[("origin", "https://evil.example")]).await;
    assert_eq!(text(&answer, "access-control-allow-origin"), "");
}

async fn compression(court: &Court) {
    let encoded = async |path, accepted| {
        let answer = court.ask("GET", path, &[("accept-encoding", accepted)]).await;
        assert_eq!(answer.status, 200, "{path}");
        (text(&answer, "content-encoding").to_owned(), answer.body.len())
    };
    for name in ["gzip", "br", "zstd"] {
        let (encoding, length) = encoded("/echo/small?pad=5000", name).await;
        assert_eq!(encoding, name);
        assert!(length < 1500, "{name}: {length} bytes");
    }
    assert_eq!(encoded("/echo/small?pad=5000", "gzip, deflate, br, zstd").await.0, "zstd");
    for (path, accepted) in [
        ("/echo/small?pad=5000", "identity"),
        ("/echo/small", "gzip"),
        ("/events", "gzip"),
        ("/echo/plain?pad=5000", "gzip"),
    ] {
        assert_eq!(encoded(path, accepted).await.0, "", "{path} {accepted}");
    }
}

async fn streams(court: &Court) {
    let router = court.scene.world.router_address();
    let client = court.scene.world.client();
    client.websocket(router, LOCAL, "/trading/ws").await.unwrap();

    let quote = "/quotes.v1.Quotes/GetQuote";
    // Field 1, the symbol: "ACME".
    let message = b"\x0a\x04ACME";
    let answer = client.grpc(router, "trading.example.com", quote, message).await.unwrap();
    assert_eq!(answer.grpc_status(), Some((0, String::new())), "{}", answer.text());
    assert!(answer.text().contains("ACME"));

    let frame = [&[0, 0, 0, 0, 6][..], message].concat();
    let request = Request::post(quote)
        .header(header::HOST, "trading.example.com")
        .header(header::CONTENT_TYPE, "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("origin", "https://shop.example.org");
    let answer = client.exchange(router, request, frame.into()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(text(&answer, "content-type"), "application/grpc-web+proto");
    assert_eq!(text(&answer, "access-control-allow-origin"), "https://shop.example.org");
    // The trailers are a frame of the body.
    assert!(
        answer.text().contains("ACME") && answer.text().contains("grpc-status:0"),
        "{}",
        answer.text()
    );
}

/// Through the System's gateway from another System's sidecar: the same routes, but for what is the Router's clients' alone.
async fn other_systems(court: &Court) {
    let call = async |host, path| court.scene.call("reader", host, path).await.unwrap();
    let all = "trading.mesh";
    for (path, seen) in [
        ("/users/7/orders/9", "/echo/9/of/7"),
        ("/strip/echo/7", "/echo/7"),
        ("/echo/host", "/echo/host"),
        ("/echo/admin", "/echo/admin"),
        ("/echo/ADMIN", "/echo/ADMIN"),
    ] {
        assert_eq!(call(all, path).await.json().unwrap()["path"], seen, "{path}");
    }
    assert_eq!(call(all, "/echo/v7").await.json().unwrap()["instance"], court.audit);
    assert_eq!(call(all, "/teapot").await.status, 418);
    assert_eq!(text(&call(all, "/old").await, "location"), "http://trading.mesh/echo/new");
    // By its name, a service gets what is its own of a split; what the gateway answers stays its answer.
    for _ in 0..5 {
        let answer = call("audit.trading.mesh", "/echo/split").await;
        assert_eq!(answer.json().unwrap()["instance"], court.audit);
    }
    assert_eq!(call("audit.trading.mesh", "/teapot").await.status, 418);
    assert_eq!(call("audit.trading.mesh", "/echo/plain").await.status, 404);
}

/// The same list from the control plane, and from the gateway for the application behind it.
async fn listing(court: &Court) {
    let control_plane = &court.scene.world.control_planes[0];
    let all: Vec<GatewayRoutes> = control_plane.get("/v1/routes").await.unwrap();
    let one: Vec<GatewayRoutes> = control_plane.get("/v1/routes?system=trading").await.unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one, all.into_iter().filter(|s| s.system.as_str() == "trading").collect::<Vec<_>>());
    assert_eq!(one[0].routes.len(), DOCUMENT.matches("match: {").count());
    let admin = one[0].routes.iter().find(|route| route.matches == "prefix /echo/admin").unwrap();
    assert_eq!((admin.auth.as_str(), admin.to.to_string().as_str()), ("staff", "orders"));
    let split = one[0].routes.iter().find(|route| route.matches == "prefix /echo/split").unwrap();
    assert_eq!(split.to.to_string(), "50% audit, 50% orders");

    let gateway = court.scene.world.instances_of("trading-gateway").next().unwrap();
    let (client, egress) = Allocation::egress(gateway).unwrap();
    let request =
        Request::builder().method(Method::GET).uri(ROUTES_PATH).header(header::HOST, MESH_HOST);
    let answer = client.exchange(egress, request, Bytes::new()).await.unwrap();
    assert_eq!((answer.status.as_u16(), text(&answer, "content-type")), (200, "application/json"));
    let told: GatewayRoutes = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told, one[0]);

    let (client, admin) = Allocation::app_admin(gateway).unwrap();
    soon("the application's admin server tells the same", async || {
        let answer = client.get(admin, LOCAL, ROUTES_PATH).await.map_err(|e| lab::chain(&e))?;
        match serde_json::from_slice::<GatewayRoutes>(&answer.body) {
            Ok(told) if told == one[0] => Ok(()),
            _ => Err(answer.text()),
        }
    })
    .await;
}
