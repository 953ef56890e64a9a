//! What responses are like on their way: for browsers of other origins, compressed, as streams.

use http::{Request, header};

use super::{Court, text};
use crate::scene::LOCAL;

pub(super) async fn check(court: &Court) {
    browsers(court).await;
    compression(court).await;
    streams(court).await;
}

async fn browsers(court: &Court) {
    let preflight = async |path, origin, method| {
        let asks = [("origin", origin), ("access-control-request-method", method)];
        court.ask("OPTIONS", path, &asks).await
    };
    let app = "https://app.example.com";
    // Also for a route that takes POST and PUT alone, and for one that asks for a token.
    for (path, method) in [("/echo/plain", "GET"), ("/echo/method", "PUT"), ("/echo/admin", "GET")]
    {
        let answer = preflight(path, app, method).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        for (name, value) in [
            ("access-control-allow-origin", app),
            ("access-control-allow-methods", "GET,PUT"),
            ("access-control-allow-headers", "x-app"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "600"),
        ] {
            assert_eq!(text(&answer, name), value, "{path} {name}");
        }
    }
    let answer = preflight("/echo/plain", "https://evil.example", "GET").await;
    assert_eq!(text(&answer, "access-control-allow-origin"), "");
    assert!(!answer.text().contains(&court.orders), "{}", answer.text());
    let answer = court.ask("GET", "/echo/edited", &[("origin", app)]).await;
    assert_eq!(text(&answer, "access-control-allow-origin"), app);
    assert_eq!(text(&answer, "access-control-expose-headers"), "x-note");
    let answer = court.ask("GET", "/echo/plain", &[("origin", "https://evil.example")]).await;
    assert_eq!(text(&answer, "access-control-allow-origin"), "");
}

async fn compression(court: &Court) {
    let encoded = async |path, accepted| {
        let answer = court.ask("GET", path, &[("accept-encoding", accepted)]).await;
        assert_eq!(answer.status, 200, "{path}");
        (text(&answer, "content-encoding").to_owned(), answer.body.len())
    };
    for name in ["gzip", "br", "zstd"] {
        let (encoding, length) = encoded("/echo/small?pad=5000", name).await;
        assert_eq!(encoding, name);
        assert!(length < 1500, "{name}: {length} bytes");
    }
    assert_eq!(encoded("/echo/small?pad=5000", "gzip, deflate, br, zstd").await.0, "zstd");
    for (path, accepted) in [
        ("/echo/small?pad=5000", "identity"),
        ("/echo/small", "gzip"),
        ("/events", "gzip"),
        ("/echo/plain?pad=5000", "gzip"),
    ] {
        assert_eq!(encoded(path, accepted).await.0, "", "{path} {accepted}");
    }
}

async fn streams(court: &Court) {
    let router = court.scene.world.router_address();
    let client = court.scene.world.client();
    client.websocket(router, LOCAL, "/trading/ws").await.unwrap();

    let quote = "/quotes.v1.Quotes/GetQuote";
    // Field 1, the symbol: "ACME".
    let message = b"\x0a\x04ACME";
    let answer = client.grpc(router, "trading.example.com", quote, message).await.unwrap();
    assert_eq!(answer.grpc_status(), Some((0, String::new())), "{}", answer.text());
    assert!(answer.text().contains("ACME"));

    let frame = [&[0, 0, 0, 0, 6][..], message].concat();
    let request = Request::post(quote)
        .header(header::HOST, "trading.example.com")
        .header(header::CONTENT_TYPE, "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("origin", "https://shop.example.org");
    let answer = client.exchange(router, request, frame.into()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(text(&answer, "content-type"), "application/grpc-web+proto");
    assert_eq!(text(&answer, "access-control-allow-origin"), "https://shop.example.org");
    // The trailers are a frame of the body.
    assert!(
        answer.text().contains("ACME") && answer.text().contains("grpc-status:0"),
        "{}",
        answer.text()
    );
}
