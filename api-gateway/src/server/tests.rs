//! Connections as a gateway's Envoy holds them: large heads.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::routing::get;
use prometheus_client::registry::Registry;
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
