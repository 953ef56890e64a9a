//! Streams: messages as they come, in lines or events, and what happens when one side goes.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Shop;
use crate::scene::{LOCAL, soon};

pub(super) async fn check(shop: &Shop) {
    lines_and_events(shop).await;
    messages_come_while_the_stream_is_open(shop).await;
    a_client_that_goes_cancels_the_call(shop).await;
}

async fn lines_and_events(shop: &Shop) {
    let path = "/v1/items/nut:watch?count=3&interval_ms=1";
    let names = |documents: Vec<&str>| -> Vec<Value> {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap()["name"].clone();
        documents.into_iter().map(parse).collect()
    };
    let answer = shop.get(path).await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/x-ndjson");
    assert_eq!(names(answer.text().lines().collect()), vec![json!("nut"); 3]);

    let answer = shop.ask("GET", path, &[("accept", "text/event-stream")], "").await;
    assert_eq!(answer.headers[header::CONTENT_TYPE], "text/event-stream");
    let text = answer.text();
    let events = text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
    assert_eq!(names(events.collect()), vec![json!("nut"); 3]);

    // Through the sample of the demo too.
    let answer = shop.get("/v1/quotes/ACME:watch?count=2&intervalMs=1").await;
    assert_eq!(answer.text().lines().count(), 2, "{}", answer.text());
    // A stream that fails before its first message is an answer like any other.
    let answer = shop.get("/v1/items/nut:watch?fail=5").await;
    assert_eq!((answer.status.as_u16(), &answer.json().unwrap()["code"]), (404, &json!(5)));
    // One that fails later ends with its error.
    let late = [("grpc-timeout", "2S")];
    let path = "/v1/items/nut:watch?count=100&interval_ms=100";
    let answer = shop.ask("GET", path, &late, "").await;
    let text = answer.text();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((answer.status.as_u16(), &last["error"]["code"]), (200, &json!(4)), "{text}");
}

/// A response that is still open, with the connection that it comes on.
struct Open {
    body: Incoming,
    _connection: JoinSet<()>,
}

async fn open(shop: &Shop, path: &str) -> Open {
    let stream = TcpStream::connect(shop.scene.world.router_address()).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    let mut task = JoinSet::new();
    // How it ends is for the test to decide.
    task.spawn(async move { drop(connection.await) });
    let request = Request::get(format!("/trading{path}")).header(header::HOST, LOCAL);
    let answer = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    Open { body: answer.into_body(), _connection: task }
}

async fn next(open: &mut Open) -> Bytes {
    let frame = tokio::time::timeout(Duration::from_secs(10), open.body.frame()).await;
    frame.unwrap().unwrap().unwrap().into_data().unwrap()
}

async fn messages_come_while_the_stream_is_open(shop: &Shop) {
    // The second message would come after an hour.
    let mut stream = open(shop, "/v1/items/early:watch?count=2&interval_ms=3600000").await;
    let text = String::from_utf8(next(&mut stream).await.to_vec()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["name"], "early");
}

async fn a_client_that_goes_cancels_the_call(shop: &Shop) {
    let log = shop.scene.world.instances_of("stock").next().unwrap().log().unwrap().to_owned();
    let logged = async |what: &str, name: &str| {
        let line = json!({what: name}).to_string();
        soon(&format!("the service says that {name} is {what}"), async || {
            let text = std::fs::read_to_string(&log).map_err(|error| error.to_string())?;
            if text.contains(&line) { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    };
    let mut stream = open(shop, "/v1/items/gone:watch?count=1000&interval_ms=50").await;
    next(&mut stream).await;
    drop(stream);
    logged("cancelled", "gone").await;
    // The one before ended in the same way.
    logged("cancelled", "early").await;
    // A unary call too: the client goes as soon as the service is at work.
    let answered = tokio::select! {
        answer = shop.ask("GET", "/v1/items/slow?sleep_ms=60000", &[], "") => Some(answer.text()),
        () = logged("sleeping", "slow") => None,
    };
    assert_eq!(answered, None, "before its time");
    logged("cancelled", "slow").await;
}
