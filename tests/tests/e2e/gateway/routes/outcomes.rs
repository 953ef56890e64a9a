//! What comes of a route beside an ordinary answer: redirects, answers of its own, headers edited, copies.

use serde_json::{Value, json};

use super::{Court, text};
use crate::scene::{LOCAL, soon};

pub(super) async fn check(court: &Court) {
    redirects(court).await;
    answers(court).await;
    headers(court).await;
    copies(court).await;
}

async fn redirects(court: &Court) {
    for (host, path, status, location) in [
        (LOCAL, "/trading/old?q=1", 308, "http://localhost/trading/echo/new?q=1"),
        ("trading.example.com", "/old", 308, "http://trading.example.com/echo/new"),
        (LOCAL, "/trading/older/7", 301, "http://localhost/trading/echo/7"),
        ("trading.example.com", "/older/7?q", 301, "http://trading.example.com/echo/7?q"),
        ("trading.example.com", "/away/x", 307, "http://other.example.org/away/x"),
    ] {
        let answer = court.ask_host(host, "GET", path, &[]).await;
        assert_eq!(
            (answer.status.as_u16(), text(&answer, "location")),
            (status, location),
            "{path}"
        );
    }
}

async fn answers(court: &Court) {
    let answer = court.ask("GET", "/teapot", &[]).await;
    assert_eq!(
        (answer.status.as_u16(), answer.text().as_str(), text(&answer, "content-type")),
        (418, r#"{"i am": "100% teapot"}"#, "application/json")
    );
    let answer = court.ask("GET", "/gone", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (410, ""));
    // The instance would answer in time without the route's limit.
    let answer = court.ask("GET", "/quick?ms=1000", &[]).await;
    assert_eq!(answer.status, 504, "{}", answer.text());
}

async fn headers(court: &Court) {
    let sent = [("x-secret", "s3cret"), ("x-added", "first"), ("x-set", "theirs")];
    let seen = court.seen("GET", "/echo/edited", &sent).await;
    let of = |name: &str| &seen["headers"][name];
    assert_eq!(of("x-set"), &json!(["50% of %REQ(x-secret)%"]));
    assert_eq!(of("x-added"), &json!(["first", "second"]));
    assert_eq!(of("x-secret"), &Value::Null);
    let answer = court.ask("GET", "/echo/edited", &[]).await;
    assert_eq!(text(&answer, "x-note"), "noted");
}

async fn copies(court: &Court) {
    let gateway = court.scene.world.instances_of("trading-gateway").next().unwrap().envoy();
    let counter = "^cluster\\.service_trading/audit\\.upstream_rq_total$";
    let before = gateway.sum(counter).await.unwrap();
    for _ in 0..5 {
        assert!(!court.is_audit("GET", "/echo/copied", &[]).await);
    }
    soon("audit got a copy of each", async || match gateway.sum(counter).await.unwrap() - before {
        5 => Ok(()),
        other => Err(format!("{other} copies")),
    })
    .await;
}
