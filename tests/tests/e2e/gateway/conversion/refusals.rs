//! What is refused, and that the refusal names what to do.

use bytes::Bytes;
use http::{Request, header};
use serde_json::json;

use super::Shop;
use crate::scene::{LOCAL, judge, soon};

pub(super) async fn check(shop: &Shop) {
    requests(shop).await;
    sizes(shop).await;
    services(shop).await;
    descriptor_files(shop).await;
}

async fn requests(shop: &Shop) {
    let nested = |depth: usize| format!("{}1{}", r#"{"place":"#.repeat(depth), "}".repeat(depth));
    let (deep, deeper) = (nested(101), nested(100_000));
    for (body, status, text) in [
        ("{", 400, "EOF"),
        ("[]", 400, ""),
        ("null", 400, ""),
        ("\u{feff}{}", 400, ""),
        (r#"{"nmae":"nut"}"#, 400, "nmae"),
        (r#"{"name":"a","name":"b"}"#, 400, "name"),
        (r#"{"name":7}"#, 400, "field `name`"),
        (r#"{"pieces":"9223372036854775808"}"#, 400, "field `pieces`"),
        (r#"{"pieces":1.5}"#, 400, "field `pieces`"),
        (r#"{"state":"STATE_LOST"}"#, 400, "field `state`"),
        (r#"{"image":"?"}"#, 400, "field `image`"),
        (r#"{"since":"yesterday"}"#, 400, "field `since`"),
        (r#"{"place":[]}"#, 400, "field `place`"),
        (deep.as_str(), 400, ""),
        (deeper.as_str(), 400, ""),
    ] {
        let answer = shop.ask("POST", "/v1/items", &[], body).await;
        let said = answer.text();
        judge(&answer, status, text).map_err(|said| format!("{body:.80}: {said}")).unwrap();
        assert_eq!(answer.json().unwrap()["code"], 3, "{said}");
    }
    for (method, path, status, text) in [
        ("GET", "/v1/prices/nut", 404, "there is no GET /v1/prices/nut"),
        ("DELETE", "/v1/items/nut", 405, ""),
        ("GET", "/v1/items/nut?colour=red", 400, "colour"),
        ("GET", "/v1/items/nut?name=bolt", 400, "name"),
        ("GET", "/v1/items/nut?pieces=many", 400, "pieces"),
        ("GET", "/v1/items/nut?pieces=1&pieces=2", 400, "pieces"),
        ("GET", "/v1/items/%ff", 400, ""),
    ] {
        let answer = shop.ask(method, path, &[], "").await;
        judge(&answer, status, text).map_err(|said| format!("{method} {path}: {said}")).unwrap();
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = shop.ask("POST", "/v1/items", &form, "").await;
    assert_eq!(answer.status, 200, "nothing is no form: {}", answer.text());
    let router = shop.scene.world.router_address();
    let request =
        Request::post("/trading/v1/items").header(header::HOST, LOCAL).header(form[0].0, form[0].1);
    let body = Bytes::from_static(b"name=nut");
    let answer = shop.scene.world.client().exchange(router, request, body).await.unwrap();
    assert_eq!(answer.status, 415, "{}", answer.text());
}

/// Sizes are refused before anything is kept, also where the client does not say them.
async fn sizes(shop: &Shop) {
    let text = |bytes: usize| json!({"name": "a".repeat(bytes)}).to_string();
    let answer = shop.ask("POST", "/v1/items", &[], &text(1 << 20)).await;
    assert_eq!(answer.status, 200, "a megabyte passes");
    let answer = shop.ask("POST", "/v1/items", &[], &text(100_000_000)).await;
    judge(&answer, 413, "4194304").unwrap();
}

/// Services that cannot be learnt, each with what to do.
async fn services(shop: &Shop) {
    for (path, texts) in [
        ("/mute/v1/items/nut", &["answers no gRPC reflection", "descriptor file"][..]),
        ("/torn/v1/items/nut", &["stock/v1/place.proto", "which is missing"]),
        ("/other/v1/items/nut", &["has no gRPC service stock.v1.Shop", "stock.v1.Stock"]),
        ("/web/v1/items/nut", &["reflection"]),
        ("/missing/v1/items/nut", &["missing.binpb"]),
    ] {
        let answer = shop.get(path).await;
        for text in texts {
            judge(&answer, 503, text).map_err(|said| format!("{path}: {said}")).unwrap();
        }
        assert_eq!(answer.json().unwrap()["code"], 14, "{}", answer.text());
    }
}

/// A service without reflection is known from a file, which is followed.
async fn descriptor_files(shop: &Shop) {
    let file = shop.scene.dir().join("stock.binpb");
    let replace = |from: &std::path::Path| {
        let new = file.with_extension("new");
        std::fs::copy(from, &new).unwrap();
        std::fs::rename(new, &file).unwrap();
    };
    replace(&shop.schemas.one);
    let answers = async |path: &str, status: u16, text: &str| {
        soon(&format!("{path} gets {status}"), async || judge(&shop.get(path).await, status, text))
            .await;
    };
    answers("/filed/v1/items/nut", 200, shop.instance("mute")).await;
    answers("/filed/v1/prices/nut", 404, "there is no GET").await;
    replace(&shop.schemas.two);
    // The file has the method, the service not.
    answers("/filed/v1/prices/nut", 501, "this version has no stock.v1.Stock.GetPrice").await;
    answers("/filed/v1/items/nut?price_cents=5", 200, "").await;
}
