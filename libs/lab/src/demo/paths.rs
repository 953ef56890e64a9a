//! A request along each path through the mesh, and what each must answer.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{Request, header};
use prost::Message as _;
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use super::checks::Checks;
use super::token::{self, Claims};
use crate::http::Answer;
use crate::placer::Allocation;
use crate::wait;
use crate::world::World;

/// From the first request to the first right answer: the configuration of all proxies on the path.
const IN_FORCE: Duration = Duration::from_secs(10);

/// `quotes.v1.GetQuoteRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GetQuoteRequest {
    #[prost(string, tag = "1")]
    pub(super) symbol: String,
}

/// `quotes.v1.Quote`.
#[derive(Clone, PartialEq, prost::Message)]
struct Quote {
    #[prost(string, tag = "1")]
    symbol: String,
    #[prost(int64, tag = "2")]
    price_cents: i64,
    #[prost(string, tag = "3")]
    instance: String,
}

/// The gRPC method's path.
pub(super) const GET_QUOTE: &str = "/quotes.v1.Quotes/GetQuote";

/// A host that no System claims: the path decides.
pub(super) const LOCAL: &str = "localhost";

type Seen = Result<String, String>;

/// Checks every path.
pub async fn check(world: &World, key: Option<&str>, checks: &mut Checks) {
    let w = world;
    ask(checks, "client → Router → gateway → sidecar → orders, by path", async || {
        answered_by(w, "orders", &get(w, LOCAL, "/trading/orders/7").await?)
    })
    .await;
    ask(checks, "the same, by host", async || {
        answered_by(w, "orders", &get(w, "trading.example.com", "/orders/7").await?)
    })
    .await;
    ask(checks, "both instances of orders answer", async || both_answer(w).await).await;
    ask(checks, "client → Router → gateway → sidecar → quotes (gRPC)", async || {
        grpc(w).await
    })
    .await;
    ask(checks, "positions → sidecar → other System's gateway → quotes", async || {
        across(w).await
    })
    .await;
    ask(checks, "orders → sidecar → sidecar → orders, in one System", async || {
        within(w).await
    })
    .await;
    ask(checks, "a WebSocket through the Router", async || websocket(w).await).await;
    gateway(w, key, checks).await;
    ask(checks, "a name that nobody has: 404 that names it", async || {
        expect(&from_orders(w, "nobody", "/x").await?, 404, "nobody")
    })
    .await;
    ask(checks, "a caller that is not admitted: 403", async || {
        expect(&from_orders(w, "positions.portfolio.mesh", "/positions/7").await?, 403, "")
    })
    .await;
    ask(checks, "a System without default_auth: 403 that names the line", async || {
        expect(&get(w, LOCAL, "/research/x").await?, 403, "default_auth")
    })
    .await;
    ask(checks, "a System that nobody has: 404", async || {
        expect(&get(w, LOCAL, "/nowhere/x").await?, 404, "")
    })
    .await;
}

/// What the gateway's application adds.
async fn gateway(w: &World, key: Option<&str>, checks: &mut Checks) {
    ask(checks, "REST outside, gRPC inside: quotes as JSON", async || {
        answered_by(w, "quotes", &get(w, LOCAL, "/trading/v1/quotes/7203").await?)
    })
    .await;
    ask(checks, "a stream of quotes, a line each", async || {
        let answer = get(w, LOCAL, "/trading/v1/quotes/7203:watch?count=3").await?;
        let lines = answer.text().lines().count();
        if lines == 3 { Ok(format!("{lines} lines")) } else { Err(expect_text(&answer)) }
    })
    .await;
    ask(checks, "a route for customers without a token: 401", async || {
        expect(&get(w, LOCAL, "/trading/customers/7").await?, 401, "")
    })
    .await;
    ask(checks, "the same with a token", async || {
        let token = token::mint(&customer()).map_err(|error| crate::chain(&error))?;
        let bearer = format!("Bearer {token}");
        let answer = with_header(w, "/trading/customers/7", "authorization", &bearer).await?;
        answered_by(w, "orders", &answer)
    })
    .await;
    let Some(key) = key else {
        return checks.skip("a route for partners with an API key", "no Consul to keep its hash");
    };
    ask(checks, "a route for partners without a key: 401", async || {
        expect(&get(w, LOCAL, "/trading/partners/7").await?, 401, "")
    })
    .await;
    ask(checks, "the same with an API key", async || {
        answered_by(w, "orders", &with_header(w, "/trading/partners/7", "x-api-key", key).await?)
    })
    .await;
}

fn customer() -> Claims {
    Claims {
        subject: "alice".to_owned(),
        audience: token::AUDIENCE.to_owned(),
        scope: String::new(),
        lifetime: Duration::from_secs(300),
    }
}

async fn with_header(world: &World, path: &str, name: &str, value: &str) -> Result<Answer, String> {
    let request = Request::get(path).header(header::HOST, LOCAL).header(name, value);
    let answer = world.client().exchange(world.router_address(), request, Bytes::new()).await;
    answer.map_err(|error| crate::chain(&error))
}

/// Asks until the answer is right: proxies may not have all of the configuration yet.
async fn ask(checks: &mut Checks, what: &str, probe: impl AsyncFnMut() -> Seen) {
    let seen = wait::until("the answer was right", IN_FORCE, probe).await;
    checks.record(what, seen.map_err(|error| error.to_string()));
}

async fn get(world: &World, host: &str, path: &str) -> Result<Answer, String> {
    let answer = world.client().get(world.router_address(), host, path).await;
    answer.map_err(|error| crate::chain(&error))
}

/// As the application of an `orders` instance would call.
async fn from_orders(world: &World, name: &str, path: &str) -> Result<Answer, String> {
    let orders = world.instances_of("orders").next().and_then(Allocation::egress);
    let (client, egress) = orders.ok_or("no instance of orders")?;
    client.get(egress, name, path).await.map_err(|error| crate::chain(&error))
}

fn expect(answer: &Answer, status: u16, text: &str) -> Seen {
    let said = answer.text();
    let seen = format!("{} {}", answer.status.as_u16(), said.trim());
    if answer.status.as_u16() == status && said.contains(text) { Ok(seen) } else { Err(seen) }
}

/// The instance that answered, if it is one of the service's.
fn answered_by(world: &World, service: &str, answer: &Answer) -> Seen {
    let json = answer.json()?;
    let named = json.get("instance").and_then(Value::as_str).unwrap_or_default();
    known(world, service, named).ok_or_else(|| expect_text(answer))
}

fn known(world: &World, service: &str, instance: &str) -> Option<String> {
    let is_known = world.instances_of(service).any(|one| one.instance() == instance);
    is_known.then(|| format!("{service} {instance}"))
}

fn expect_text(answer: &Answer) -> String {
    format!("{} {}", answer.status.as_u16(), answer.text().trim())
}

async fn both_answer(world: &World) -> Seen {
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let answer = get(world, LOCAL, "/trading/orders/7").await?;
        seen.insert(answered_by(world, "orders", &answer)?);
    }
    let text = format!("{} in 20 answers", seen.len());
    if seen.len() == world.instances_of("orders").count() { Ok(text) } else { Err(text) }
}

async fn grpc(world: &World) -> Seen {
    let request = GetQuoteRequest { symbol: "ACME".to_owned() }.encode_to_vec();
    let (client, router) = (world.client(), world.router_address());
    let answer = client.grpc(router, "trading.example.com", GET_QUOTE, &request).await;
    let answer = answer.map_err(|error| crate::chain(&error))?;
    match (answer.grpc_status(), Quote::decode(answer.grpc_message())) {
        (Some((0, _)), Ok(quote)) => {
            known(world, "quotes", &quote.instance).ok_or_else(|| format!("{quote:?}"))
        }
        (status, _) => Err(format!("{} gRPC {status:?} {}", answer.status, answer.text())),
    }
}

async fn across(world: &World) -> Seen {
    let answer = get(world, LOCAL, "/portfolio/positions/7").await?;
    let by = answered_by(world, "positions", &answer)?;
    let json = answer.json()?;
    let quoted = json.get("quoted_by").and_then(Value::as_str).unwrap_or_default();
    let quoted = known(world, "quotes", quoted).ok_or_else(|| expect_text(&answer))?;
    Ok(format!("{by}, {quoted}"))
}

async fn within(world: &World) -> Seen {
    let answer = get(world, LOCAL, "/trading/call/orders/orders/7").await?;
    let json = answer.json()?;
    let inner = json.pointer("/answer/instance").and_then(Value::as_str).unwrap_or_default();
    known(world, "orders", inner).ok_or_else(|| expect_text(&answer))
}

async fn websocket(world: &World) -> Seen {
    let said = |error: tokio_tungstenite::tungstenite::Error| error.to_string();
    let (client, router) = (world.client(), world.router_address());
    let socket = client.websocket(router, LOCAL, "/trading/ws").await;
    let mut socket = socket.map_err(|error| crate::chain(&error))?;
    socket.send(Message::text("hello")).await.map_err(said)?;
    let echo = socket.next().await.ok_or("closed before an echo")?.map_err(said)?;
    let text = echo.into_text().map_err(said)?;
    if text.ends_with(": hello") { Ok(text.to_string()) } else { Err(text.to_string()) }
}
