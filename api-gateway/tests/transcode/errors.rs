//! Errors of the service, of what is between, and of what is too large or too late.

use api_gateway::transcode::{Limits, Options};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::gateway::{Gateway, api};
use crate::service::Seen;

#[tokio::test]
async fn each_code_has_its_http_status() {
    let gateway = Gateway::start().await;
    let table = [
        (1, 499),
        (2, 500),
        (3, 400),
        (4, 504),
        (5, 404),
        (6, 409),
        (7, 403),
        (8, 429),
        (9, 400),
        (10, 409),
        (11, 400),
        (12, 501),
        (13, 500),
        (14, 503),
        (15, 500),
        (16, 401),
    ];
    for (code, http) in table {
        let got = gateway
            .post("/v1/fail", &format!("{{\"int32Value\":{code},\"text\":\"wörks not\"}}"))
            .await;
        assert_eq!(got.status.as_u16(), http, "code {code}");
        assert_eq!(got.json(), json!({"code": code, "message": "wörks not"}));
        assert_eq!(got.headers["content-type"], "application/json");
        assert_eq!(got.headers["x-answered"], "yes");
    }
}

#[tokio::test]
async fn details_of_an_error_are_json_and_unknown_ones_are_kept() {
    let gateway = Gateway::start().await;
    let known =
        r#"{"int32Value":3,"any":{"@type":"type.googleapis.com/echo.v1.Inner","text":"a"}}"#;
    assert_eq!(
        gateway.post("/v1/fail", known).await.json()["details"],
        json!([{"@type": "type.googleapis.com/echo.v1.Inner", "text": "a"}])
    );
    let known = r#"{"int32Value":3,"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}"#;
    assert_eq!(
        gateway.post("/v1/fail", known).await.json()["details"],
        json!([{"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}])
    );
}

#[tokio::test]
async fn headers_become_metadata_by_their_names_and_none_becomes_a_reserved_one() {
    let gateway = Gateway::start().await;
    let request = Request::post("/")
        .header("content-type", "application/json")
        .header("authorization", "Bearer t")
        .header("x-asked", "a")
        .header("x-many", "1")
        .header("x-many", "2")
        .header("trace-bin", "AQI")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("te", "gzip")
        .header("grpc-status", "0")
        .header("grpc-encoding", "gzip")
        .header("grpc-message", "a")
        .header("x-envoy-retry-on", "5xx")
        .header("x-mesh-convert", "quotes a.A")
        .header("accept-encoding", "gzip")
        .header("content-language", "de");
    let got = gateway.send(request, "/v1/echo", "{}").await;
    assert_eq!((got.status, &got.headers["x-asked"]), (StatusCode::OK, &"a".parse().unwrap()));
    assert!(
        !got.headers.contains_key("x-envoy-secret") && !got.headers.contains_key("grpc-status")
    );
    let seen = gateway.seen.borrow().headers.clone();
    let names: Vec<&str> = seen.keys().map(http::HeaderName::as_str).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["authorization", "content-type", "te", "trace-bin", "x-asked", "x-many"]);
    assert_eq!(
        (&seen["te"], &seen["content-type"]),
        (&"trailers".parse().unwrap(), &"application/grpc".parse().unwrap())
    );
    assert_eq!(seen.get_all("x-many").iter().collect::<Vec<_>>(), ["1", "2"]);
    let request = Request::get("/").header("trace-bin", "%%%");
    let got = gateway.send(request, "/v1/echo", "").await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    assert!(got.message().starts_with("header `trace-bin`: "));
}

#[tokio::test]
async fn the_smaller_timeout_goes_to_the_service_and_is_kept_here() {
    let gateway = Gateway::start().await;
    let request = Request::get("/")
        .header("grpc-timeout", "10S")
        .header("x-envoy-expected-rq-timeout-ms", "400");
    let begin = std::time::Instant::now();
    let got = gateway.send(request, "/v1/slow", "").await;
    println!("a timeout of 400 ms ended after {:?}", begin.elapsed());
    assert_eq!((got.status, &got.json()["code"]), (StatusCode::GATEWAY_TIMEOUT, &json!(4)));
    let seen = gateway.await_seen(|seen| seen.cancelled == 1).await;
    let told: u64 =
        seen.headers["grpc-timeout"].to_str().unwrap().strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..=400_000).contains(&told), "{told} µs");
    let request = Request::get("/").header("grpc-timeout", "1 second");
    let got = gateway.send(request, "/v1/slow", "").await;
    assert_eq!(got.status, StatusCode::BAD_REQUEST);
    let request = Request::get("/").header("grpc-timeout", "0n");
    assert_eq!(gateway.send(request, "/v1/slow", "").await.status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn nesting_beyond_the_limit_is_an_error_and_no_crash() {
    let gateway = Gateway::start().await;
    let nested = |depth: usize| format!("{}{}", "{\"inner\":".repeat(depth), "}".repeat(depth));
    let got = gateway
        .post("/v1/echo", &format!("{}{{}}{}", "{\"inner\":".repeat(90), "}".repeat(90)))
        .await;
    assert_eq!(got.status, StatusCode::OK);
    for body in [
        nested(101),
        nested(100_000),
        "[".repeat(1_000_000),
        "{\"list\":".to_owned() + &"[".repeat(100_000),
    ] {
        let got = gateway.post("/v1/echo", &body).await;
        assert_eq!(
            got.status,
            StatusCode::BAD_REQUEST,
            "{}",
            got.text().get(..200).unwrap_or(got.text())
        );
    }
}

#[tokio::test]
async fn a_body_of_100_mb_is_refused_without_being_read() {
    let gateway = Gateway::start().await;
    let got = gateway.post("/v1/echo", &format!("{{\"text\":\"{}\"}}", "a".repeat(5 << 20))).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(got.message(), "the body is larger than 4194304 bytes; send less at a time");
    for head in ["content-length: 104857600", "transfer-encoding: chunked"] {
        let mut client = TcpStream::connect(gateway.address).await.unwrap();
        let head = format!(
            "POST /v1/echo HTTP/1.1\r\nhost: echo\r\ncontent-type: application/json\r\n{head}\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("100000\r\n{}\r\n", "a".repeat(1 << 20));
        let mut sent = 0;
        // The gateway closes the connection, so writing fails at some point.
        while sent < 100 && client.write_all(chunk.as_bytes()).await.is_ok() {
            sent += 1;
        }
        let mut answer = Vec::new();
        // What was not read before the close may reset the connection after the answer.
        let end = client.read_to_end(&mut answer).await;
        println!("{head:?}: {sent} MB written, {} bytes of answer, {end:?}", answer.len());
        assert!(sent < 100, "all of the body was taken");
    }
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_an_error_both_ways() {
    let limits = Limits { message_bytes: 1000, ..Limits::default() };
    let gateway = Gateway::with(vec![api()], Options { limits, ..Options::default() }).await;
    let got = gateway.post("/v1/echo", &format!("{{\"text\":\"{}\"}}", "a".repeat(1000))).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(got.message(), "the message is larger than 1000 bytes; send less at a time");
    let got = gateway.get("/v1/count?int32Value=1&sint32Value=1001").await;
    let error: Value = serde_json::from_str(got.text()).unwrap();
    assert_eq!(
        error["error"]["message"],
        "the service's message is larger than 1000 bytes; ask for less at a time, or raise `limits.message_bytes`"
    );
}

#[tokio::test]
async fn a_service_that_is_gone_or_speaks_no_grpc_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let seen = || std::sync::Arc::new(watch::Sender::new(Seen::default()));
    let gateway =
        Gateway::before(nobody, seen(), vec![api()], Options::default(), JoinSet::new()).await;
    let got = gateway.post("/v1/echo", "{}").await;
    assert_eq!((got.status, &got.json()["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(14)));
    assert!(got.message().starts_with("service `echo` cannot be reached: "), "{}", got.message());
    let unknown = Gateway::with(Vec::new(), Options::default()).await;
    assert_eq!(unknown.post("/v1/echo", "{}").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let other = crate::schema::api_of("rpc Gone(echo.v1.Kinds) returns (echo.v1.Kinds);").unwrap();
    let gateway = Gateway::with(vec![other.into()], Options::default()).await;
    let got = gateway.json(Method::POST, "/t.T/Gone", "{}").await;
    assert_eq!(got.status, StatusCode::BAD_GATEWAY);
    assert_eq!(
        got.message(),
        "service `echo` answers 200 with content type \"text/html\", which is not gRPC; route to a gRPC service, \
         registered with `mesh_protocol: grpc`"
    );
}
