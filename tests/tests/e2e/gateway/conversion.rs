//! A gRPC service is called as REST.

use contract::registration::Protocol;
use lab::placer::ServiceSpec;
use serde_json::{Value, json};

use crate::scene::Scene;

const DOCUMENT: &str = "\
kind: System
name: trading
default_auth: none
routes:
- {match: {prefix: /v1}, to: quotes, convert: {grpc: [quotes.v1.Quotes]}}
- {match: {prefix: /quotes.v1.Quotes}, to: quotes, convert: {grpc: [quotes.v1.Quotes]}}
";

#[tokio::test]
async fn a_grpc_service_answers_rest_through_router_and_gateway() {
    let test = "a_grpc_service_answers_rest_through_router_and_gateway";
    let Some(mut scene) = Scene::with_consul(test, |_| ()).await else { return };
    let quotes = scene.parts.our("quotes").unwrap();
    let services = [
        ServiceSpec::api_gateway("trading"),
        ServiceSpec::new("trading", "quotes", Protocol::Grpc, quotes),
    ];
    scene.world.place(&services).await.unwrap();
    scene.world.apply("trading", DOCUMENT).await.unwrap();

    scene.answers("/trading/v1/quotes/7203", 200, "priceCents").await;
    let answer = scene.get("/trading/v1/quotes/7203").await.unwrap();
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let price = i64::from(b'7') + i64::from(b'2') + i64::from(b'0') + i64::from(b'3');
    let instance = scene.world.instances_of("quotes").next().unwrap().instance().to_owned();
    assert_eq!(
        body,
        json!({"symbol": "7203", "priceCents": (price * 37).to_string(), "instance": instance})
    );
    let missing = scene.get("/trading/v1/prices/7203").await.unwrap();
    assert_eq!(missing.status, 404, "{}", missing.text());
    assert!(missing.text().contains("there is no GET /v1/prices/7203"), "{}", missing.text());
    scene.world.stop().await.unwrap();
}
