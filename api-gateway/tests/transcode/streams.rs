//! Streams of the service: lines, events, bytes, their ends, and clients that go.

use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::Gateway;

/// The next piece of a body that is still open.
async fn next(body: &mut Incoming) -> String {
    let frame = tokio::time::timeout(Duration::from_secs(20), body.frame()).await;
    let frame = frame.expect("a frame within 20 s").expect("the body goes on").unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn each_message_of_a_stream_is_a_line() {
    let gateway = Gateway::start().await;
    let got = gateway.get("/v1/count?int32Value=3&text=a").await;
    assert_eq!(
        (got.status, &got.headers["content-type"]),
        (StatusCode::OK, &"application/x-ndjson".parse().unwrap())
    );
    assert_eq!(
        lines(got.text()),
        [
            json!({"text": "a"}),
            json!({"text": "a", "int32Value": 1}),
            json!({"text": "a", "int32Value": 2})
        ]
    );
    let got = gateway.get("/v1/count").await;
    assert_eq!((got.status, got.text()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn each_message_is_an_event_for_who_accepts_events() {
    let gateway = Gateway::start().await;
    let request = Request::get("/").header("accept", "text/event-stream, */*;q=0.1");
    let got = gateway.send(request, "/v1/count?int32Value=2&maybeNumber=5", "").await;
    assert_eq!(got.headers["content-type"], "text/event-stream");
    assert_eq!(
        got.text(),
        "data: {}\n\ndata: {\"int32Value\":1}\n\n\
         event: error\ndata: {\"error\":{\"code\":5,\"message\":\"stream failed\"}}\n\n"
    );
}

#[tokio::test]
async fn messages_come_while_the_stream_is_open() {
    let gateway = Gateway::start().await;
    let response =
        gateway.begin(Request::get("/"), "/v1/count?int32Value=2&boolValue=true", "").await;
    let mut body = response.into_body();
    let mut got = next(&mut body).await;
    while got.lines().count() < 2 {
        got.push_str(&next(&mut body).await);
    }
    assert_eq!(lines(&got), [json!({}), json!({"int32Value": 1})]);
    assert_eq!(gateway.seen.borrow().cancelled, 0);
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_its_error() {
    let gateway = Gateway::start().await;
    let got = gateway.get("/v1/count?int32Value=1&maybeNumber=14").await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(
        lines(got.text()),
        [json!({}), json!({"error": {"code": 14, "message": "stream failed"}})]
    );
}

#[tokio::test]
async fn a_stream_that_takes_too_long_ends_with_the_deadline_and_cancels_the_call() {
    let gateway = Gateway::start().await;
    let request = Request::get("/").header("grpc-timeout", "300m");
    let got = gateway.send(request, "/v1/count?int32Value=1&boolValue=true", "").await;
    let lines = lines(got.text());
    assert_eq!((&lines[0], &lines[1]["error"]["code"]), (&json!({}), &json!(4)));
    gateway.await_seen(|seen| seen.cancelled == 1).await;
}

#[tokio::test]
async fn bytes_of_a_stream_are_sent_as_they_come() {
    let gateway = Gateway::start().await;
    let got = gateway.get("/v1/download?int32Value=3").await;
    assert_eq!(got.headers["content-type"], "text/csv");
    assert_eq!(got.text(), "row 0\nrow 1\nrow 2\n");
    let path = "/v1/download?int32Value=1&maybeNumber=13";
    let mut broken = raw(&gateway, &format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n")).await;
    let mut text = String::new();
    broken.read_to_string(&mut text).await.unwrap();
    assert!(!text.ends_with("0\r\n\r\n"), "a failed stream of bytes looks whole: {text:?}");
}

/// A client of its own connection, which it can cut.
async fn raw(gateway: &Gateway, request: &str) -> TcpStream {
    let mut client = TcpStream::connect(gateway.address).await.unwrap();
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

#[tokio::test]
async fn a_client_that_goes_cancels_the_call_at_once() {
    let gateway = Gateway::start().await;
    for (at, path) in ["/v1/count?int32Value=1&boolValue=true", "/v1/slow"].into_iter().enumerate()
    {
        let client = raw(&gateway, &format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n")).await;
        gateway.await_seen(|seen| seen.begun == at + 1).await;
        let begin = std::time::Instant::now();
        drop(client);
        gateway.await_seen(|seen| seen.cancelled == at + 1).await;
        println!("{path}: the service saw the cancellation after {:?}", begin.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_service_back() {
    let gateway = Gateway::start().await;
    let path = "/v1/count?int32Value=10000&sint32Value=100000";
    let mut client = raw(&gateway, &format!("GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n")).await;
    // The service is held back when it makes nothing more for a while.
    let mut made = gateway.seen.subscribe();
    while tokio::time::timeout(Duration::from_millis(500), made.changed()).await.is_ok() {}
    let held = made.borrow().made;
    println!("{held} messages of 100 KB of 10,000 were made for a client that does not read");
    assert!(held < 300, "{held} messages are on their way");
    let mut some = vec![0; 64 << 20];
    client.read_exact(&mut some).await.unwrap();
    gateway.await_seen(|seen| seen.made > held).await;
}
