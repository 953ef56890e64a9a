//! Tokens: what a service is told of who calls, what proves nothing, what a route requires, and an issuer that is away.

use http::header;
use serde_json::json;

use super::issuer::{Issuer, now};
use super::{Desk, says, seen, told};
use crate::scene::{judge, soon};

pub(super) async fn check(desk: &Desk) {
    a_service_is_told_who_calls_and_nobody_else_can_say_it(desk).await;
    tokens_that_prove_nothing_are_refused_with_the_reason(desk).await;
    what_a_route_requires_is_named(desk).await;
    an_issuer_that_is_away_closes_its_routes_and_no_others(desk).await;
}

async fn a_service_is_told_who_calls_and_nobody_else_can_say_it(desk: &Desk) {
    let forged =
        ["x-mesh-consumer", "x_mesh_consumer", "x-mesh-auth", "x-team", "x_team", "x-level"];
    let forged = forged.map(|name| (name, "mallory".to_owned()));
    let token = desk.bearer(json!({"team": "fx", "realm": {"level": 3}}));
    let headers: Vec<_> = forged.iter().chain([&token]).collect();
    let names = ["x-mesh-consumer", "x-mesh-auth", "x-team", "x-level", "authorization"];
    let saw = seen(&desk.ask("/trading/headers", &headers).await);
    assert_eq!(told(&saw, &names), [Some("carol"), Some("customers"), Some("fx"), Some("3"), None]);
    assert!(!saw.values().any(|value| value.contains("mallory")), "{saw:?}");
    let headers: Vec<_> = forged.iter().collect();
    let saw = seen(&desk.ask("/trading/headers/open", &headers).await);
    assert_eq!(told(&saw, &names), [None; 5]);
    assert!(!saw.values().any(|value| value.contains("mallory")), "{saw:?}");
}

async fn tokens_that_prove_nothing_are_refused_with_the_reason(desk: &Desk) {
    let bearer = |token: String| ("authorization", format!("Bearer {token}"));
    let stranger = Issuer::new("https://id.example.com");
    for (token, reason) in [
        (desk.bearer(json!({"exp": now() - 120})), "Jwt is expired"),
        (desk.bearer(json!({"exp": null})), "Jwt verification fails"),
        (desk.bearer(json!({"nbf": now() + 120})), "Jwt not yet valid"),
        (desk.bearer(json!({"aud": "lending"})), "Audiences in Jwt are not allowed"),
        (desk.bearer(json!({"iss": "https://id.example.org"})), "Jwt issuer is not configured"),
        (bearer(desk.customers.unsigned()), "Jwt"),
        (bearer(stranger.token(json!({}))), "Jwt verification fails"),
        (bearer("hunter2".to_owned()), "Jwt is not in the form"),
        (("authorization", "Basic Y2Fyb2w6".to_owned()), "Jwt is missing"),
        (("x-unrelated", String::new()), "Jwt is missing"),
    ] {
        let answer = desk.ask("/trading/headers", &[&token]).await;
        says(&answer, 401, reason);
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE), "{reason}");
    }
    let good = desk.bearer(json!({}));
    for other in [&good, &("authorization", "Basic Y2Fyb2w6".to_owned())] {
        for headers in [[&good, other], [other, &good]] {
            says(&desk.ask("/trading/headers", &headers).await, 401, "sent twice");
        }
    }
    let query = format!("/trading/headers?access_token={}", desk.customers.token(json!({})));
    says(&desk.ask(&query, &[]).await, 401, "Jwt is missing");
    let oversized = bearer("a".repeat(70_000));
    assert_eq!(desk.ask("/trading/headers", &[&oversized]).await.status, 431);
}

async fn what_a_route_requires_is_named(desk: &Desk) {
    let path = "/trading/headers/desk";
    let write = "orders.read orders.write";
    for level in [json!(3), json!("3"), json!(["1", "3"])] {
        let token = desk.bearer(json!({"scope": write, "realm": {"level": level}}));
        says(&desk.ask(path, &[&token]).await, 200, "\"x-mesh-auth\":\"customers\"");
    }
    let requires = "System trading, routes[0]: requires a token with claim sub, scope orders.write, claim realm.level = 3";
    for claims in [
        json!({"scope": "orders.read", "realm": {"level": 3}}),
        json!({"scope": "orders.writes", "realm": {"level": 3}}),
        json!({"scope": write, "realm": {"level": 33}}),
        json!({"scope": write, "realm.level": 3}),
        json!({"scope": write}),
        json!({"scope": write, "realm": {"level": 3}, "sub": null}),
    ] {
        says(&desk.ask(path, &[&desk.bearer(claims)]).await, 403, requires);
    }
}

async fn an_issuer_that_is_away_closes_its_routes_and_no_others(desk: &Desk) {
    let token = ("authorization", format!("Bearer {}", desk.staff.token(json!({}))));
    let path = "/trading/headers/staff";
    says(&desk.ask(path, &[&token]).await, 503, "keys cannot be fetched, so nobody passes");
    says(&desk.ask("/trading/headers", &[&desk.bearer(json!({}))]).await, 200, "carol");
    desk.staff.serve(desk.staff_address).await;
    for gateway in desk.gateways() {
        soon("the issuer is back", async || {
            judge(&desk.ask_at(gateway, "/headers/staff", &[&token]).await, 200, "Bearer ")
        })
        .await;
    }
    says(&desk.ask(path, &[&desk.bearer(json!({}))]).await, 401, "Jwt issuer is not configured");
}
