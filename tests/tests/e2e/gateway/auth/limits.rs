//! How often: of a route, of a System, of each consumer and of all.

use http::header;
use serde_json::json;

use super::{Desk, says, trading};
use crate::scene::{judge, soon};

pub(super) async fn check(desk: &Desk) {
    who_comes_too_often_is_told_when_to_come_again(desk).await;
    what_a_system_allows_counts_all_its_routes_together(desk).await;
}

async fn who_comes_too_often_is_told_when_to_come_again(desk: &Desk) {
    let gateway = *desk.gateways().first().unwrap();
    let (one, two) = (desk.key("one", &[]).await, desk.key("two", &[]).await);
    let (carol, dave) = (desk.bearer(json!({})), desk.bearer(json!({"sub": "dave"})));
    for (path, consumers) in [
        ("/headers/limited", [&one, &two]),
        ("/headers/limited", [&carol, &dave]),
        ("/headers/counted", [&carol, &dave]),
    ] {
        for consumer in consumers {
            for _ in 0..2 {
                assert_eq!(desk.ask_at(gateway, path, &[consumer]).await.status, 200, "{path}");
            }
            let answer = desk.ask_at(gateway, path, &[consumer]).await;
            says(&answer, 429, "each consumer, 2 in 1h");
            assert_eq!(answer.headers.get(header::RETRY_AFTER).unwrap(), "1800");
        }
    }
    for _ in 0..3 {
        assert_eq!(desk.ask_at(gateway, "/headers/crowd", &[]).await.status, 200);
    }
    let answer = desk.ask_at(gateway, "/headers/crowd", &[&carol]).await;
    says(
        &answer,
        429,
        "too many requests: the limit of System trading, routes[6]: all callers, 3 in 1h",
    );
    assert_eq!(answer.headers.get(header::RETRY_AFTER).unwrap(), "1200");
    assert_eq!(desk.ask_at(gateway, "/headers/open", &[]).await.status, 200);
}

async fn what_a_system_allows_counts_all_its_routes_together(desk: &Desk) {
    let document = trading(&desk.customers, desk.staff_address);
    let wide = "limits: {all: {requests: 100000, per: 1s}, consumer: {requests: 10000, per: 1s}}";
    let narrow = "limits: {all: {requests: 5, per: 1h}, consumer: {requests: 2, per: 1h}}";
    assert!(document.contains(wide), "{document}");
    desk.scene.world.apply("trading", &document.replace(wide, narrow)).await.unwrap();
    let gateway = *desk.gateways().first().unwrap();
    let (carol, dave) = (desk.bearer(json!({})), desk.bearer(json!({"sub": "dave"})));
    let of_carol = "too many requests: the limit of System trading: each consumer, 2 in 1h";
    // Each kind of routes counts for the same bucket, and who is refused for another reason for none.
    soon("carol has used up what she has", async || {
        for path in ["/headers", "/headers/counted"] {
            desk.ask_at(gateway, path, &[&carol]).await;
        }
        judge(&desk.ask_at(gateway, "/headers", &[&carol]).await, 429, of_carol)
    })
    .await;
    let of_all = "too many requests: the limit of System trading: all callers, 5 in 1h";
    soon("everybody has used up what there is", async || {
        desk.ask_at(gateway, "/headers", &[&dave]).await;
        judge(&desk.ask_at(gateway, "/headers/open", &[]).await, 429, of_all)
    })
    .await;
    let answer = desk.ask_at(gateway, "/headers/open", &[]).await;
    assert_eq!(answer.headers.get(header::RETRY_AFTER).unwrap(), "720");
    desk.scene.world.apply("trading", &document).await.unwrap();
    for gateway in desk.gateways() {
        soon("the wide limits are back", async || {
            judge(&desk.ask_at(gateway, "/headers/open", &[]).await, 200, "")
        })
        .await;
    }
}
