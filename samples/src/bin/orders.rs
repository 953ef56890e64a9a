//! `orders`: an HTTP application that also calls others by name.
//!
//! | path | answers |
//! |---|---|
//! | `/` and `/orders/{id}` | an order, and the instance that answers |
//! | `/call/{name}/{path}` | what the service NAME answers to `/{path}`, asked through the sidecar's egress; with `?say=NAME=VALUE,…` it says that too |
//! | `/headers` and below | the headers of the request, as the gateway and the sidecar let them through |
//! | `/slow?ms=500` | after that time |
//! | `/status/503` | with that status |
//! | `/echo/…?pad=2000` | whatever it was asked, with so many bytes more |
//! | `/events` | a stream of events |
//! | `/stream?count=30&ms=100` | so many lines with that pause between them |
//! | `/ws` | a WebSocket that echoes |
//! | `/healthz` | 200 |

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use clap::Parser;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use samples::{Flags, log_request, told_to_stop};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

struct App {
    flags: Flags,
    client: Client<HttpConnector, Body>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let listener = tokio::net::TcpListener::bind(flags.listen)
        .await
        .with_context(|| format!("cannot listen on {}", flags.listen))?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let routes = Router::new()
        .route("/", get(index))
        .route("/orders", get(index))
        .route("/orders/{id}", get(order))
        // The same application under the name of the demo's job.
        .route("/reports/{id}", get(order))
        .route("/reports/slow", get(slow).post(slow))
        .route("/call/{name}/{*path}", get(call))
        .route("/headers", get(headers))
        .route("/headers/{*path}", get(headers))
        .route("/slow", get(slow).post(slow))
        .route("/status/{code}", any(status))
        .route("/echo", any(asked))
        .route("/echo/{*rest}", any(asked))
        .route("/events", get(events))
        .route("/stream", get(stream))
        .route("/ws", get(echo))
        .route("/healthz", get(|| async { "ok" }))
        .layer(axum::middleware::from_fn(log_request))
        .with_state(Arc::new(App { flags, client }));
    axum::serve(listener, routes).with_graceful_shutdown(told_to_stop()).await?;
    Ok(())
}

async fn index(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"service": "orders", "instance": app.flags.instance}))
}

/// A header that came more than once has its values joined.
async fn headers(headers: HeaderMap) -> Json<BTreeMap<String, String>> {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        seen.entry(name.to_string())
            .and_modify(|values| *values = format!("{values}, {value}"))
            .or_insert(value);
    }
    Json(seen)
}

async fn order(State(app): State<Arc<App>>, Path(id): Path<String>) -> Json<Value> {
    Json(json!({"order": id, "state": "filled", "instance": app.flags.instance}))
}

/// Headers of a request's whole way.
const PASSED_ON: [&str; 3] = ["x-request-id", "traceparent", "x-mesh-hops"];

#[derive(serde::Deserialize)]
struct Said {
    /// `NAME=VALUE,NAME=VALUE`.
    #[serde(default)]
    say: String,
}

/// The authority names the service, the sidecar does the rest: no address of another service is known here.
/// What belongs to a request's whole way is passed on, as every application does that takes part in traces.
async fn call(
    State(app): State<Arc<App>>,
    Path((name, path)): Path<(String, String)>,
    Query(said): Query<Said>,
    headers: HeaderMap,
) -> Response {
    let asked = async {
        let mut request =
            Request::get(format!("{}/{path}", app.flags.egress)).header(header::HOST, &name);
        for (name, value) in PASSED_ON.iter().filter_map(|name| Some((*name, headers.get(*name)?)))
        {
            request = request.header(name, value);
        }
        for (name, value) in said.say.split(',').filter_map(|header| header.split_once('=')) {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty())?;
        let (head, body) = app.client.request(request).await?.into_parts();
        anyhow::Ok((head.status, body.collect().await?.to_bytes()))
    };
    let (status, answer) = match asked.await {
        Ok((status, body)) => {
            let text = String::from_utf8_lossy(&body).into_owned();
            (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
        Err(error) => (StatusCode::BAD_GATEWAY, Value::String(format!("{error:#}"))),
    };
    let by = &app.flags.instance;
    (status, Json(json!({"called": name, "by": by, "answer": answer}))).into_response()
}

#[derive(serde::Deserialize)]
struct Pause {
    ms: u64,
}

async fn slow(State(app): State<Arc<App>>, Query(pause): Query<Pause>) -> Json<Value> {
    tokio::time::sleep(Duration::from_millis(pause.ms.min(60_000))).await;
    Json(json!({"slept_ms": pause.ms, "instance": app.flags.instance}))
}

async fn status(Path(code): Path<u16>) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST)
}

#[derive(serde::Deserialize)]
struct Padding {
    #[serde(default)]
    pad: usize,
}

/// What a service sees of a request, for those who want to know what was done to it on the way.
async fn asked(
    State(app): State<Arc<App>>,
    Query(padding): Query<Padding>,
    request: Request<Body>,
) -> Json<Value> {
    let headers: BTreeMap<&str, Vec<String>> = request
        .headers()
        .keys()
        .map(|name| {
            let values = request.headers().get_all(name).iter();
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str(), values.map(text).collect())
        })
        .collect();
    Json(json!({
        "method": request.method().as_str(), "path": request.uri().path(), "query": request.uri().query(),
        "headers": headers, "instance": app.flags.instance, "pad": ".".repeat(padding.pad.min(100_000)),
    }))
}

async fn events() -> Response {
    let events = "data: something happened\n\n".repeat(100);
    ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response()
}

#[derive(serde::Deserialize)]
struct Lines {
    count: usize,
    ms: u64,
}

async fn stream(State(app): State<Arc<App>>, Query(lines): Query<Lines>) -> Response {
    let Lines { count, ms } = lines;
    let line = format!("{}\n", app.flags.instance);
    let lines = (0..count.min(10_000)).map(move |_| Ok::<_, std::io::Error>(line.clone()));
    let lines = tokio_stream::iter(lines).throttle(Duration::from_millis(ms.min(60_000)));
    ([(header::CONTENT_TYPE, "text/plain")], Body::from_stream(lines)).into_response()
}

async fn echo(State(app): State<Arc<App>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| echo_until_closed(socket, app))
}

async fn echo_until_closed(mut socket: WebSocket, app: Arc<App>) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else { continue };
        let answer = format!("{}: {text}", app.flags.instance);
        if socket.send(Message::Text(answer.into())).await.is_err() {
            return;
        }
    }
}
