//! Who is let in: tokens, keys, what routes require, how often, and what services are told.
//!
//! One mesh, two Systems: `trading` has two gateways with the application behind them, `portfolio` one without.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use bytes::Bytes;
use contract::registration::Protocol;
use http::{Request, header};
use lab::http::Answer;
use lab::parts;
use lab::placer::ServiceSpec;
use lab::process::{self, Program};
use serde_json::{Value, json};

use self::issuer::Issuer;
use crate::scene::{LOCAL, Scene, judge, soon};

mod changes;
mod issuer;
mod key_sets;
mod keys;
mod limits;
mod outages;
mod tokens;

/// Issuers of a test.
struct Desk {
    scene: Scene,
    customers: Issuer,
    staff: Issuer,
    staff_address: SocketAddr,
}

fn trading(customers: &Issuer, staff: SocketAddr) -> String {
    format!(
        "\
kind: System
name: trading
auth:
  customers:
    jwt:
      issuer: https://id.example.com
      audiences: [trading]
      jwks: {{inline: '{}'}}
      claims: {{team: x-team, realm.level: x-level}}
  staff: {{jwt: {{issuer: staff, forward: true, jwks: {{url: 'http://{staff}/keys'}}}}}}
  partners: {{api_key: {{header: x-api-key, keys: mesh/keys/trading}}}}
default_auth: customers
limits: {{all: {{requests: 100000, per: 1s}}, consumer: {{requests: 10000, per: 1s}}}}
routes:
- {{match: {{prefix: /headers/desk}}, to: orders, auth: [staff, customers], require: {{scopes: [orders.write], claims: {{realm.level: ['3']}}}}}}
- {{match: {{prefix: /headers/staff}}, to: orders, auth: staff}}
- {{match: {{prefix: /headers/any}}, to: orders, auth: [customers, partners], require: {{scopes: [orders.read]}}}}
- {{match: {{prefix: /headers/keys}}, to: orders, auth: partners}}
- {{match: {{prefix: /headers/limited}}, to: orders, auth: [partners, customers], limits: {{consumer: {{requests: 2, per: 1h}}}}}}
- {{match: {{prefix: /headers/counted}}, to: orders, limits: {{consumer: {{requests: 2, per: 1h}}}}}}
- {{match: {{prefix: /headers/crowd}}, to: orders, auth: none, limits: {{all: {{requests: 3, per: 1h}}}}}}
- {{match: {{prefix: /headers/open}}, to: orders, auth: none}}
- {{match: {{prefix: /headers}}, to: orders}}
",
        customers.jwks()
    )
}

fn portfolio(customers: &Issuer) -> String {
    format!(
        "\
kind: System
name: portfolio
auth:
  customers: {{jwt: {{issuer: https://id.example.com, jwks: {{inline: '{}'}}}}}}
  partners: {{api_key: {{header: x-api-key, keys: mesh/keys/portfolio}}}}
routes:
- {{match: {{prefix: /headers/keys}}, to: positions, auth: [customers, partners]}}
- {{match: {{prefix: /headers}}, to: positions, auth: customers}}
",
        customers.jwks()
    )
}

impl Desk {
    async fn open(test: &str, envoy: PathBuf) -> Option<Self> {
        let mut scene = Scene::with_consul(test, |options| options.parts.envoy = envoy).await?;
        let positions = scene.parts.our("orders").unwrap();
        let services = [
            ServiceSpec::api_gateway("trading"),
            ServiceSpec::api_gateway("trading"),
            ServiceSpec::gateway("portfolio"),
            scene.orders(),
            ServiceSpec::new("portfolio", "positions", Protocol::Http, positions),
        ];
        scene.world.place(&services).await.unwrap();
        let (customers, staff) = (Issuer::new("https://id.example.com"), Issuer::new("staff"));
        let port = lab::ports::reserve().unwrap();
        let staff_address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        scene.world.apply("trading", &trading(&customers, staff_address)).await.unwrap();
        scene.world.apply("portfolio", &portfolio(&customers)).await.unwrap();
        scene.answers("/trading/headers/open", 200, "x-request-id").await;
        let desk = Self { scene, customers, staff, staff_address };
        let token = desk.bearer(json!({}));
        // The Router's requests come to either gateway: each has to have its rules.
        for gateway in desk.gateways() {
            soon("a gateway of trading has its rules", async || {
                judge(&desk.ask_at(gateway, "/headers", &[&token]).await, 200, "carol")?;
                judge(&desk.ask_at(gateway, "/headers/keys", &[]).await, 401, "x-api-key")
            })
            .await;
        }
        soon("portfolio lets a token in", async || {
            judge(&desk.ask("/portfolio/headers", &[&token]).await, 200, "carol")
        })
        .await;
        Some(desk)
    }

    fn bearer(&self, claims: Value) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.customers.token(claims)))
    }

    /// Asks the Router.
    async fn ask(&self, path: &str, headers: &[&(&'static str, String)]) -> Answer {
        self.ask_at(self.scene.world.router_address(), path, headers).await
    }

    async fn ask_at(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &[&(&'static str, String)],
    ) -> Answer {
        let mut request = Request::get(path).header(header::HOST, LOCAL);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.scene.world.client().exchange(address, request, Bytes::new()).await.unwrap()
    }

    /// Where the Router reaches each gateway of `trading`.
    fn gateways(&self) -> Vec<SocketAddr> {
        let gateways = self.scene.world.instances_of("trading-gateway");
        let ingress = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        gateways.map(|gateway| ingress(gateway.ingress().unwrap())).collect()
    }

    /// What `meshctl keys …` prints.
    async fn keys(&self, arguments: &[&str]) -> String {
        let consul = self.scene.world.consul().unwrap().url();
        let program = Program::new("meshctl keys", &self.scene.parts.our("meshctl").unwrap())
            .args(["keys"])
            .args(arguments.iter().copied())
            .args(["--consul", &consul]);
        process::run(&program).await.unwrap().trim().to_owned()
    }

    /// A new key, once every gateway knows it.
    async fn key(&self, consumer: &str, flags: &[&str]) -> (&'static str, String) {
        let create = [&["create", "trading", "--consumer", consumer], flags].concat();
        let key = ("x-api-key", self.keys(&create).await);
        for gateway in self.gateways() {
            soon("a new key is known", async || {
                judge(&self.ask_at(gateway, "/headers/keys", &[&key]).await, 200, consumer)
            })
            .await;
        }
        key
    }
}

#[track_caller]
fn says(answer: &Answer, status: u16, text: &str) {
    judge(answer, status, text).unwrap();
}

/// The headers that the service saw.
#[track_caller]
fn seen(answer: &Answer) -> BTreeMap<String, String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn told<'a>(seen: &'a BTreeMap<String, String>, names: &[&str]) -> Vec<Option<&'a str>> {
    names.iter().map(|name| seen.get(*name).map(String::as_str)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_is_proven_before_a_service_is_reached_in_every_version_of_envoy() {
    let test = "who_calls_is_proven_before_a_service_is_reached_in_every_version_of_envoy";
    let Some(versions) = parts::envoy_versions_or_skip(test) else { return };
    for (_, envoy) in versions {
        let Some(desk) = Desk::open(test, envoy).await else { return };
        check(desk).await;
    }
}

async fn check(mut desk: Desk) {
    tokens::check(&desk).await;
    keys::check(&desk).await;
    limits::check(&desk).await;
    outages::check(&mut desk).await;
    desk.scene.end().await;
}
