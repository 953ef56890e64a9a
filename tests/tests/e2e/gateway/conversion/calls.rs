//! Unary calls: how a request becomes a message, what comes back, and what travels beside both.

use serde_json::{Value, json};

use super::Shop;

pub(super) async fn check(shop: &Shop) {
    a_sample_of_the_demo(shop).await;
    bindings(shop).await;
    metadata(shop).await;
    deadlines(shop).await;
    errors(shop).await;
}

async fn a_sample_of_the_demo(shop: &Shop) {
    let price = "7203".bytes().map(i64::from).sum::<i64>() * 37;
    let instance = shop.instance("quotes");
    let body = shop.get("/v1/quotes/7203").await.json().unwrap();
    let expected = json!({"symbol": "7203", "priceCents": price.to_string(), "instance": instance});
    assert_eq!(body, expected);
}

/// What the service understood, without what it adds.
async fn understood(shop: &Shop, method: &str, path: &str, body: &str) -> Value {
    let answer = shop.ask(method, path, &[], body).await;
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    let mut said = answer.json().unwrap();
    if let Some(fields) = said.as_object_mut() {
        fields.remove("metadata");
        fields.remove("instance");
    }
    said
}

async fn bindings(shop: &Shop) {
    let item = json!({
        "name": "nut", "pieces": "9007199254740993", "state": "STATE_SOLD_OUT", "image": "//8=",
        "place": {"aisle": "a/b", "shelf": -3}, "tags": ["x", "y"], "since": "2026-11-29T10:00:00.500Z",
    });
    // Fields from the path, the query, nested and repeated ones, and 64 bits that no float holds.
    let query = "/v1/items/nut?pieces=9007199254740993&state=STATE_SOLD_OUT&image=__8&place.aisle=a%2Fb&place.shelf=-3\
                 &tags=x&tags=y&since=2026-11-29T10:00:00.500Z";
    assert_eq!(understood(shop, "GET", query, "").await, item);
    let text = item.to_string();
    for (method, path) in [("POST", "/v1/items"), ("POST", "/stock.v1.Plain/Get")] {
        assert_eq!(understood(shop, method, path, &text).await, item, "{path}");
    }
    // A field is the body, and a field is the answer.
    let place = json!({"aisle": "c", "shelf": 1});
    let answer = understood(shop, "PUT", "/v1/items/nut/place", &place.to_string()).await;
    assert_eq!(answer, place);
    // A method with rules has no default path.
    let answer = shop.ask("POST", "/v1/stock.v1.Stock/GetItem", &[], "{}").await;
    assert_eq!(answer.status, 404, "{}", answer.text());
}

async fn metadata(shop: &Shop) {
    let sent = [
        ("x-desk", "fx"),
        ("authorization", "Bearer mine"),
        ("grpc-status", "0"),
        ("x-mesh-convert", "quotes"),
        ("x-mesh-consumer", "mallory"),
        ("x_mesh_consumer", "mallory"),
        ("accept", "application/json"),
    ];
    let answer = shop.ask("GET", "/v1/items/nut", &sent, "").await;
    assert_eq!(answer.headers["x-stock"], "1", "metadata of the answer is a header");
    let body = answer.json().unwrap();
    let seen = &body["metadata"];
    assert_eq!(seen["x-desk"], "fx");
    assert_eq!(seen["authorization"], "Bearer mine");
    assert!(seen["x-request-id"].is_string(), "{seen}");
    for name in ["grpc-status", "x-mesh-convert", "x-mesh-consumer", "x_mesh_consumer", "accept"] {
        assert_eq!(seen[name], Value::Null, "{name}");
    }
}

async fn deadlines(shop: &Shop) {
    // The smaller of what the client says and what the route allows goes to the service.
    let told = async |path: &str, headers: &[(&str, &str)]| {
        let body = shop.ask("GET", path, headers, "").await.json().unwrap();
        let text = body["metadata"]["grpc-timeout"].as_str().map(str::to_owned);
        text.map(|text| {
            let (number, unit) = text.split_at(text.len() - 1);
            let units = [("S", 1e3), ("m", 1.0), ("u", 1e-3), ("n", 1e-6)];
            let scale = units.into_iter().find(|(name, _)| *name == unit).unwrap().1;
            number.parse::<f64>().unwrap() * scale
        })
    };
    assert_eq!(told("/v1/items/nut", &[]).await, None, "nobody has set one");
    let own = told("/v1/items/nut", &[("grpc-timeout", "20S")]).await.unwrap();
    assert!((10_000.0..=20_000.0).contains(&own), "{own} ms");
    for own in [&[][..], &[("grpc-timeout", "20S")]] {
        let route = told("/brief/v1/items/nut", own).await.unwrap();
        assert!((100.0..=3000.0).contains(&route), "{route} ms");
    }
    let short = [("grpc-timeout", "200m")];
    let answer = shop.ask("GET", "/v1/items/nut?sleep_ms=5000", &short, "").await;
    assert_eq!((answer.status.as_u16(), &answer.json().unwrap()["code"]), (504, &json!(4)));
    let answer = shop.get("/brief/v1/items/nut?sleep_ms=5000").await;
    assert_eq!(answer.status, 504, "{}", answer.text());
}

async fn errors(shop: &Shop) {
    for (code, status) in
        [(3, 400), (5, 404), (6, 409), (7, 403), (8, 429), (13, 500), (14, 503), (16, 401)]
    {
        let answer = shop.get(&format!("/v1/items/nut?fail={code}")).await;
        let body = answer.json().unwrap();
        let expected = json!({"code": code, "message": "as the message asked"});
        assert_eq!((answer.status.as_u16(), body), (status, expected));
    }
}
