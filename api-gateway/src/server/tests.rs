//! Connections as a gateway's Envoy holds them: large heads, and calls that it gives up.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::schema::{self, DescriptorFolder, Owner, Pace, Reflection, Sources};

const DEADLINE: Duration = Duration::from_secs(10);

/// A connection to a server that answers `/`; the server ends with the second value.
async fn connect() -> (TcpStream, AbortOnDropHandle<()>) {
    let limits = schema::Limits::default();
    let egress = SocketAddr::from(([127, 0, 0, 1], 9));
    let uri = format!("http://{egress}").parse().unwrap();
    let sources = Sources {
        reflection: Reflection { egress: uri, limits, deadline: DEADLINE },
        folder: DescriptorFolder { path: PathBuf::from("/nowhere"), limits },
    };
    let server = Server {
        schemas: Owner::new(sources, Pace::default()).1,
        egress: Egress::new(egress),
        options: Arc::default(),
        metrics: ConversionMetrics::new(&mut Registry::default()),
        others: Router::new().route("/", get(|| async { "well" })),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the test owns its server")]
    let task = tokio::spawn(async move {
        server.run(listener, CancellationToken::new()).await.unwrap();
    });
    (TcpStream::connect(address).await.unwrap(), AbortOnDropHandle::new(task))
}

#[tokio::test]
async fn a_head_that_envoy_lets_through_is_not_too_large() {
    let (stream, _server) = connect().await;
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let mut request = Request::get("http://gateway/");
    // 96 KiB in 200 headers.
    for number in 0..200 {
        request = request.header(format!("x-{number:03}"), "a".repeat(486));
    }
    let (response, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
    let answered = async {
        tokio::select! {
            ended = connection => panic!("the connection ended: {ended:?}"),
            response = response => response.unwrap().status(),
        }
    };
    let status = tokio::time::timeout(DEADLINE, answered).await.unwrap();
    assert_eq!(status, StatusCode::OK);
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test]
async fn calls_that_are_given_up_all_at_once_take_no_other_with_them() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    const LAST: u32 = 401;
    /// `GET http://gateway/`, by RFC 7541's static table.
    const HEAD: &[u8] = b"\x82\x86\x84\x41\x07gateway";
    const IS_WHOLE: u8 = 0x5;
    const CANCEL: [u8; 4] = [0, 0, 0, 8];

    let (mut stream, _server) = connect().await;
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    for number in (1..LAST).step_by(2) {
        sent.extend(frame(HEADERS, IS_WHOLE, number, HEAD));
        sent.extend(frame(RST_STREAM, 0, number, &CANCEL));
    }
    sent.extend(frame(HEADERS, IS_WHOLE, LAST, HEAD));
    // At once, as the server finds it after a stall.
    stream.write_all(&sent).await.unwrap();
    let answered = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let [high, middle, low, kind, _, number @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            assert_ne!(kind, GOAWAY, "{}", String::from_utf8_lossy(&payload));
            if kind == HEADERS && u32::from_be_bytes(number) == LAST {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, answered).await.unwrap();
}
