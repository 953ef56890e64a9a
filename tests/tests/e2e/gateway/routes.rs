//! Every match and every outcome of a document's routes, by requests through Router and gateway, and from a sidecar.
#![expect(clippy::indexing_slicing, reason = "a test's failure is a panic")]

use bytes::Bytes;
use contract::registration::Protocol;
use http::{Request, header};
use lab::http::Answer;
use lab::placer::ServiceSpec;
use serde_json::Value;

use super::{retries, smuggling, spelling};
use crate::scene::{LOCAL, Scene};

mod matches;
mod outcomes;
mod responses;
mod told;

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
    matches::check(&court).await;
    outcomes::check(&court).await;
    responses::check(&court).await;
    told::check(&court).await;
    retries::check(&court.scene).await;
    spelling::check(&court.scene).await;
    smuggling::check(&court.scene).await;
    court.scene.end().await;
}
