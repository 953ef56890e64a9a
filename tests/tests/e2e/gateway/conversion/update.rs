//! A service gets a new schema while it is called: an instance of each version at a time, and nothing is restarted.

use lab::load::Call;
use lab::placer::Stop;

use super::{Shop, stock};
use crate::scene::{judge, none_lost, soon};

pub(super) async fn check(shop: &mut Shop) {
    let gateway = shop.scene.world.instances_of("trading-gateway").next().unwrap();
    let application = gateway.log().unwrap().to_owned();
    let old = shop.instance("stock").to_owned();
    let load = shop.scene.load(Call::Get, "/trading/v1/items/nut?pieces=7");
    judge(&shop.get("/v1/prices/nut").await, 404, "there is no GET /v1/prices/nut").unwrap();
    judge(&shop.get("/v1/items/nut?price_cents=5").await, 400, "price_cents").unwrap();

    let two = stock("stock", &shop.schemas.two);
    shop.scene.world.place(&[two]).await.unwrap();
    // A question about the schema meets either instance, as it happens. A path that nobody knows has the gateway ask again,
    // once a second at the most; a field that nobody knows does not, and then four questions in twenty seconds may all meet
    // the old one.
    soon("the new method is answered by the new instance", async || {
        judge(&shop.get("/v1/prices/nut").await, 200, "instance")
    })
    .await;
    // Both schemas are understood, whichever instance a request comes to.
    for path in ["/v1/items/nut?price_cents=5", "/v1/items/nut?pieces=7"] {
        for _ in 0..20 {
            judge(&shop.get(path).await, 200, "").unwrap();
        }
    }

    shop.scene.world.remove("stock", Stop::Drained).await.unwrap();
    let new = shop.instance("stock").to_owned();
    assert_ne!(old, new);
    for path in ["/v1/prices/nut", "/v1/items/nut?price_cents=5", "/v1/items/nut?pieces=7"] {
        for _ in 0..20 {
            judge(&shop.get(path).await, 200, &new).unwrap();
        }
    }
    none_lost(load).await;
    let starts = std::fs::read_to_string(application).unwrap();
    assert_eq!(starts.matches("Serving the gateway's Envoy").count(), 1, "nothing was restarted");
}
