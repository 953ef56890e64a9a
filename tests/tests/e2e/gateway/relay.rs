//! Between Systems: requests that go in a circle, and what an application cannot say of itself.

use std::collections::BTreeMap;

use contract::registration::Protocol;
use lab::http::Answer;
use lab::placer::ServiceSpec;
use serde_json::Value;

use crate::scene::{Scene, soon};

fn document(system: &str, service: &str) -> String {
    format!(
        "kind: System\nname: {system}\ndefault_auth: none\nroutes:\n- {{match: {{prefix: /}}, to: {service}}}\n"
    )
}

/// A call through so many Systems, of `portfolio` and `trading` in turn, then `path` at the last.
fn circle(times: usize, path: &str) -> String {
    let systems = ["portfolio", "trading"].into_iter().cycle().take(times);
    let calls: String = systems.map(|system| format!("/call/{system}.mesh")).collect();
    format!("{calls}{path}")
}

/// What the last one said.
fn innermost(answer: &Answer) -> Value {
    let mut said = answer.json().unwrap();
    while let Some(inner) = said.get_mut("answer") {
        said = inner.take();
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn systems_that_call_each_other_in_a_circle_are_told_so() {
    let test = "systems_that_call_each_other_in_a_circle_are_told_so";
    let Some(mut scene) = Scene::with_consul(test, |options| options.control_planes = 1).await
    else {
        return;
    };
    let program = scene.parts.our("orders").unwrap();
    let services = [
        scene.orders(),
        ServiceSpec::gateway("trading"),
        ServiceSpec::new("portfolio", "positions", Protocol::Http, program),
        ServiceSpec::gateway("portfolio"),
    ];
    scene.world.place(&services).await.unwrap();
    scene.world.apply("trading", &document("trading", "orders")).await.unwrap();
    scene.world.apply("portfolio", &document("portfolio", "positions")).await.unwrap();
    let through = async |times, path: &str| {
        let answer = scene.get(&format!("/trading{}", circle(times, path))).await;
        answer.map(|answer| (answer.status.as_u16(), answer))
    };
    soon("both Systems reach each other", async || match through(2, "/headers").await? {
        (200, _) => Ok(()),
        (_, answer) => Err(answer.text()),
    })
    .await;

    let list = "trading,portfolio,trading,portfolio,trading,portfolio,trading,portfolio";
    let (status, answer) = through(7, "/headers").await.unwrap();
    assert_eq!(status, 200, "{}", answer.text());
    assert_eq!(innermost(&answer)["x-mesh-hops"], list, "{}", answer.text());
    // The ninth System's gateway refuses, and everyone before it hands that on.
    for times in [8, 12] {
        let (status, answer) = through(times, "/headers").await.unwrap();
        assert_eq!(status, 508, "{}", answer.text());
        assert_eq!(
            innermost(&answer),
            format!(
                "System trading relays this request no further: it has been in 8 Systems, whose services seem to call each other in a circle (x-mesh-hops: {list})\n"
            )
        );
    }

    // A request that an application begins is its System's.
    let answer = scene.call("orders", "portfolio.mesh", "/headers").await.unwrap();
    assert_eq!(answer.json().unwrap()["x-mesh-hops"], "trading,portfolio");
    sidecars(&scene).await;
    scene.end().await;
}

/// An application says who it is not; its sidecar says who it is.
async fn sidecars(scene: &Scene) {
    let forged = "x-mesh-caller-system=portfolio,x-mesh-caller-service=positions,x-mesh-consumer=mallory,x-mesh-auth=customers,x-mesh-convert=quotes";
    for (host, path) in [("portfolio.mesh", "headers"), ("orders", "headers")] {
        let path = format!("/trading/call/{host}/{path}?say={forged}");
        let answer = scene.get(&path).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen: BTreeMap<String, String> = serde_json::from_value(innermost(&answer)).unwrap();
        let of_mesh: BTreeMap<&str, &str> = seen
            .iter()
            .filter(|(name, _)| name.starts_with("x-mesh-") && *name != "x-mesh-hops")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(|(name, _)| *name != "x-mesh-instance")
            .collect();
        let expected = [("x-mesh-caller-service", "orders"), ("x-mesh-caller-system", "trading")];
        assert_eq!(of_mesh, BTreeMap::from(expected), "{host}");
    }
}
