//! Requests that two readers may understand in two ways: written byte by byte, because no client library would send them.
//!
//! Each is refused before a service sees it, or is served as what the Router understood, without what it hides.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::scene::Scene;

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// No service sees it.
    Refused,
    /// One request reaches the service, without a header of the mesh.
    Served,
}

/// Heads, and bodies, after `HTTP/1.1` and a host. `⏎` is CR LF.
const REQUESTS: [(&str, Fate); 20] = {
    use Fate::{Refused, Served};
    [
        ("⏎⏎", Served),
        ("x-mesh-consumer: mallory⏎X_Mesh-Consumer: mallory⏎⏎", Served),
        // Where the body ends.
        ("content-length: 5⏎transfer-encoding: chunked⏎⏎0⏎⏎", Refused),
        ("transfer-encoding: chunked⏎content-length: 0⏎⏎0⏎⏎", Refused),
        ("content-length: 4⏎content-length: 0⏎⏎abcd", Refused),
        ("content-length: 0, 4⏎⏎abcd", Refused),
        ("content-length: +0⏎⏎", Refused),
        ("content-length: -1⏎⏎", Refused),
        ("transfer-encoding: xchunked⏎⏎0⏎⏎", Refused),
        ("transfer-encoding: chunked, identity⏎⏎0⏎⏎", Refused),
        ("transfer-encoding : chunked⏎⏎0⏎⏎", Refused),
        ("transfer-encoding: chunked⏎⏎fffffffffffffffff⏎", Refused),
        ("transfer-encoding: chunked⏎⏎0x0⏎⏎", Refused),
        // Where a header ends: in these two it goes on, so nothing is hidden in its value.
        ("x-a: 1⏎ x-mesh-consumer: mallory⏎⏎", Served),
        ("x-a: 1\rx-mesh-consumer: mallory⏎⏎", Served),
        ("x-a: 1\0x-mesh-consumer: mallory⏎⏎", Refused),
        ("x-mesh-consumer : mallory⏎⏎", Refused),
        // Who is asked, and over what.
        ("host: other.example.com⏎⏎", Refused),
        // What the mesh wrote may not be taken off as one hop's own.
        ("connection: x-mesh-hops, x-request-id, close⏎⏎", Served),
        // Nobody changes to a protocol in which requests would not be looked at.
        (
            "connection: upgrade, http2-settings⏎upgrade: h2c⏎http2-settings: AAMAAABkAAQAAP__⏎⏎",
            Served,
        ),
    ]
};

/// Headers over HTTP/2 which HTTP/1.1 would read as more than one, or as another's.
const HEADERS: [(&str, &str, Fate); 11] = {
    use Fate::{Refused, Served};
    [
        ("x-a", "1", Served),
        ("x-mesh-consumer", "mallory", Served),
        ("x-a", "1\r\nx-mesh-consumer: mallory", Refused),
        ("x-a", "1\nx-mesh-consumer: mallory", Refused),
        ("x-a", "1\0", Refused),
        ("x-a: 1\r\nx-mesh-consumer", "mallory", Refused),
        ("X-Mesh-Consumer", "mallory", Refused),
        ("transfer-encoding", "chunked", Refused),
        ("connection", "x-mesh-hops", Refused),
        ("content-length", "7", Refused),
        (":path", "/trading/echo/admin", Refused),
    ]
};

/// Asks the Router.
pub(super) async fn check(scene: &Scene) {
    let router = scene.world.router_address();
    let mut wrong = Vec::new();
    for (rest, expected) in REQUESTS {
        let rest = rest.replace('⏎', "\r\n");
        let request = format!("GET /trading/echo/plain HTTP/1.1\r\nhost: localhost\r\n{rest}");
        let request = request.replace("localhost\r\n\r\n\r\n", "localhost\r\n\r\n");
        let answer = exchange(router, request.as_bytes(), of_http1).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let answers = answer.matches("HTTP/1.1 ").count();
        if fate(&answer) != Ok(expected) || answers > 1 || answer.contains(" 101 ") {
            wrong.push(format!("{rest:?}: expected {expected:?}, got {answer:.300}"));
        }
    }
    for (name, value, expected) in HEADERS {
        let answer = exchange(router, &over_http2(name, value), of_http2).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        if fate(&answer) != Ok(expected) {
            wrong.push(format!(
                "HTTP/2 {name:?} {value:?}: expected {expected:?}, got {answer:.300}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The service says which headers it saw.
fn fate(answer: &str) -> Result<Fate, &'static str> {
    let is_served = answer.contains("\"instance\"");
    let of_consumer = ["\"x-mesh-consumer\":", "\"x_mesh-consumer\":"];
    let is_forged = of_consumer.iter().any(|name| answer.contains(name));
    match (is_served, is_forged, answer.contains("\"x-mesh-hops\":")) {
        (false, ..) => Ok(Fate::Refused),
        (true, false, true) => Ok(Fate::Served),
        (true, true, _) => Err("a forged header came through"),
        (true, false, false) => Err("a header of the mesh is missing"),
    }
}

/// An answer, or an end, is never as late as that.
const PATIENCE: Duration = Duration::from_secs(10);
/// Behind an answer of HTTP/1.1 a second one would come at once.
const SILENCE: Duration = Duration::from_millis(400);

/// What comes back until the connection ends, or is silent for as long as `patience` says of what came so far; `None`: it
/// is over.
async fn exchange(
    router: SocketAddr,
    bytes: &[u8],
    patience: fn(&[u8]) -> Option<Duration>,
) -> Vec<u8> {
    let mut stream = TcpStream::connect(router).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    while let Some(patience) = patience(&answer)
        && let Ok(Ok(1..)) = tokio::time::timeout(patience, stream.read_buf(&mut answer)).await
    {
    }
    answer
}

fn of_http1(answer: &[u8]) -> Option<Duration> {
    Some(if answer.is_empty() { PATIENCE } else { SILENCE })
}

fn of_http2(answer: &[u8]) -> Option<Duration> {
    (!is_over(answer)).then_some(PATIENCE)
}

/// Frames of HTTP/2 with prior knowledge: the preface, settings, and one request whose headers are literals.
fn over_http2(name: &str, value: &str) -> Vec<u8> {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const END_OF_STREAM_AND_HEADERS: u8 = 5;
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let literal = |name: &str, value: &str| {
        let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        [vec![0], text(name), text(value)].concat()
    };
    let headers = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/trading/echo/plain"),
        (name, value),
    ];
    let block = headers.map(|(name, value)| literal(name, value)).concat();
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
        frame(HEADERS, END_OF_STREAM_AND_HEADERS, 1, &block),
    ]
    .concat()
}

/// Whether these frames hold the end of the stream: its last frame, a reset, or the connection's end.
fn is_over(mut bytes: &[u8]) -> bool {
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let &[a, b, c, kind, flags, .., stream] = head else { return true };
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap();
        let Some(rest) = rest.get(length..) else { return false };
        if matches!(kind, 3 | 7) || (stream == 1 && matches!(kind, 0 | 1) && flags & 1 == 1) {
            return true;
        }
        bytes = rest;
    }
    false
}
