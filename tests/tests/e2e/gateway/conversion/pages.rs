//! What the gateway's application tells people and programs about the System.

use lab::placer::Allocation;
use serde_json::{Value, json};

use super::Shop;
use crate::scene::soon;

pub(super) async fn check(shop: &Shop) {
    let gateway = shop.scene.world.instances_of("trading-gateway").next();
    let (client, admin) = gateway.and_then(Allocation::app_admin).unwrap();
    let get = async |path: &str| client.get(admin, "localhost", path).await.unwrap();

    let document: Value = soon("the document has what the routes offer", async || {
        let document = get("/openapi.json").await.json()?;
        match document["paths"].as_object() {
            Some(paths) if paths.contains_key("/v1/items/{name}") => Ok(document),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{document}");
    let paths: Vec<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    for path in [
        "/v1/quotes/{symbol}",
        "/v1/items",
        "/v1/items/{name}:watch",
        "/stock.v1.Plain/Get",
        "/filed/v1/items/{name}",
    ] {
        assert!(paths.contains(&path), "{path}: {paths:?}");
    }
    let item = &document["components"]["schemas"]["stock.v1.Item"]["properties"];
    assert_eq!(item["pieces"]["type"], json!("string"), "{item}");

    let viewer = get("/docs/").await;
    assert!(viewer.text().contains("swagger-ui"), "{}", viewer.text());
    let schemas = get("/schemas").await.text();
    for text in ["stock.v1.Stock", "answers no gRPC reflection", "stock/v1/place.proto"] {
        assert!(schemas.contains(text), "{text}: {schemas}");
    }
}
