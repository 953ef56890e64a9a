//! The same routes seen from elsewhere: by sidecars of other Systems, and as a list.

use bytes::Bytes;
use contract::gateway::{GatewayRoutes, MESH_HOST, ROUTES_PATH};
use http::{Method, Request, header};
use lab::placer::Allocation;

use super::{Court, DOCUMENT, text};
use crate::scene::{LOCAL, soon};

pub(super) async fn check(court: &Court) {
    other_systems(court).await;
    listing(court).await;
}

/// Through the System's gateway from another System's sidecar: the same routes, but for what is the Router's clients' alone.
async fn other_systems(court: &Court) {
    let call = async |host, path| court.scene.call("reader", host, path).await.unwrap();
    let all = "trading.mesh";
    for (path, seen) in [
        ("/users/7/orders/9", "/echo/9/of/7"),
        ("/strip/echo/7", "/echo/7"),
        ("/echo/host", "/echo/host"),
        ("/echo/admin", "/echo/admin"),
        ("/echo/ADMIN", "/echo/ADMIN"),
    ] {
        assert_eq!(call(all, path).await.json().unwrap()["path"], seen, "{path}");
    }
    assert_eq!(call(all, "/echo/v7").await.json().unwrap()["instance"], court.audit);
    assert_eq!(call(all, "/teapot").await.status, 418);
    assert_eq!(text(&call(all, "/old").await, "location"), "http://trading.mesh/echo/new");
    // By its name, a service gets what is its own of a split; what the gateway answers stays its answer.
    for _ in 0..5 {
        let answer = call("audit.trading.mesh", "/echo/split").await;
        assert_eq!(answer.json().unwrap()["instance"], court.audit);
    }
    assert_eq!(call("audit.trading.mesh", "/teapot").await.status, 418);
    assert_eq!(call("audit.trading.mesh", "/echo/plain").await.status, 404);
}

/// The same list from the control plane, and from the gateway for the application behind it.
async fn listing(court: &Court) {
    let control_plane = &court.scene.world.control_planes[0];
    let all: Vec<GatewayRoutes> = control_plane.get("/v1/routes").await.unwrap();
    let one: Vec<GatewayRoutes> = control_plane.get("/v1/routes?system=trading").await.unwrap();
    assert_eq!(one.len(), 1);
    assert_eq!(one, all.into_iter().filter(|s| s.system.as_str() == "trading").collect::<Vec<_>>());
    assert_eq!(one[0].routes.len(), DOCUMENT.matches("match: {").count());
    let admin = one[0].routes.iter().find(|route| route.matches == "prefix /echo/admin").unwrap();
    assert_eq!((admin.auth.as_str(), admin.to.to_string().as_str()), ("staff", "orders"));
    let split = one[0].routes.iter().find(|route| route.matches == "prefix /echo/split").unwrap();
    assert_eq!(split.to.to_string(), "50% audit, 50% orders");

    let gateway = court.scene.world.instances_of("trading-gateway").next().unwrap();
    let (client, egress) = Allocation::egress(gateway).unwrap();
    let request =
        Request::builder().method(Method::GET).uri(ROUTES_PATH).header(header::HOST, MESH_HOST);
    let answer = client.exchange(egress, request, Bytes::new()).await.unwrap();
    assert_eq!((answer.status.as_u16(), text(&answer, "content-type")), (200, "application/json"));
    let told: GatewayRoutes = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told, one[0]);

    let (client, admin) = Allocation::app_admin(gateway).unwrap();
    soon("the application's admin server tells the same", async || {
        let answer = client.get(admin, LOCAL, ROUTES_PATH).await.map_err(|e| lab::chain(&e))?;
        match serde_json::from_slice::<GatewayRoutes>(&answer.body) {
            Ok(told) if told == one[0] => Ok(()),
            _ => Err(answer.text()),
        }
    })
    .await;
}
