//! What is still let in while the application behind a gateway, or Consul, is away.

use std::time::Duration;

use serde_json::json;

use super::{Desk, says};
use crate::scene::{judge, soon};

pub(super) async fn check(desk: &mut Desk) {
    without_an_application_keys_open_nothing(desk).await;
    let good = without_consul_known_keys_stay_good(desk).await;
    an_application_that_has_read_no_keys_opens_nothing(desk, &good).await;
    without_its_application_a_gateway_checks_tokens_and_nothing_else(desk).await;
}

async fn without_an_application_keys_open_nothing(desk: &Desk) {
    let key = ("x-api-key", desk.keys(&["create", "portfolio", "--consumer", "acme"]).await);
    for proof in [&key, &desk.bearer(json!({}))] {
        let answer = desk.ask("/portfolio/headers/keys", &[proof]).await;
        says(&answer, 503, "no api-gateway application stands behind this gateway");
    }
    says(&desk.ask("/portfolio/headers", &[&key]).await, 401, "Jwt is missing");
    let token = desk.bearer(json!({"aud": "whatever"}));
    says(&desk.ask("/portfolio/headers", &[&token]).await, 200, "\"x-mesh-auth\":\"customers\"");
}

async fn without_consul_known_keys_stay_good(desk: &mut Desk) -> (&'static str, String) {
    let good = desk.key("late", &[]).await;
    let revoked = desk.key("gone", &[]).await;
    desk.keys(&["revoke", &revoked.1]).await;
    let path = "/trading/headers/keys";
    let desk_now = &*desk;
    soon("the revocation is in force", async || {
        for gateway in desk_now.gateways() {
            judge(
                &desk_now.ask_at(gateway, "/headers/keys", &[&revoked]).await,
                401,
                "is revoked",
            )?;
        }
        Ok::<_, String>(())
    })
    .await;
    desk.scene.world.consul_mut().unwrap().stop().await.unwrap();
    lab::wait::holds("keys are judged without Consul", Duration::from_secs(1), async || {
        judge(&desk.ask(path, &[&good]).await, 200, "late")?;
        judge(&desk.ask(path, &[&revoked]).await, 401, "is revoked")
    })
    .await
    .unwrap();
    good
}

/// Consul is away, and the application has never read a key.
async fn an_application_that_has_read_no_keys_opens_nothing(
    desk: &mut Desk,
    good: &(&'static str, String),
) {
    for gateway in &mut desk.scene.world.allocations {
        if gateway.spec().name == "trading-gateway" {
            gateway.restart_app().await.unwrap();
        }
    }
    let desk = &*desk;
    for gateway in desk.gateways() {
        soon("a key is neither good nor bad", async || {
            let answer = desk.ask_at(gateway, "/headers/keys", &[good]).await;
            judge(&answer, 503, "mesh/keys/trading was never read from Consul")
        })
        .await;
    }
}

async fn without_its_application_a_gateway_checks_tokens_and_nothing_else(desk: &mut Desk) {
    for gateway in &mut desk.scene.world.allocations {
        if gateway.spec().name == "trading-gateway" {
            gateway.app_mut().unwrap().kill().await.unwrap();
        }
    }
    let token = desk.bearer(json!({"scope": "orders.read"}));
    for path in ["/trading/headers/keys", "/trading/headers/any"] {
        let answer = desk.ask(path, &[&token]).await;
        says(&answer, 503, "application behind this gateway does not answer, so nobody passes");
    }
    says(&desk.ask("/trading/headers", &[&token]).await, 200, "carol");
}
