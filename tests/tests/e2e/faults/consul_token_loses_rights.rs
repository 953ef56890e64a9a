//! The control planes' token loses its rights: Consul then answers empty lists, with status 200.

use std::time::Duration;

use http::Method;
use lab::consul::ConsulOptions;
use lab::load::Call;
use lab::wait;
use lab::world::WorldOptions;
use serde_json::{Value, json};

use super::{all_are_fresh, follows_again};
use crate::scene::{Scene, judge, none_lost, soon};

const MANAGEMENT: &str = "5e1f0c3a-0000-4000-8000-000000000001";
const RULES: &str = r#"
service_prefix "" { policy = "read" }
node_prefix "" { policy = "read" }
key_prefix "mesh/" { policy = "read" }
"#;

/// Changes what the control planes' token may do.
async fn grant(scene: &Scene, rules: &str) {
    let policies = scene.consul(Method::GET, "/v1/acl/policies", None).await;
    let is_ours = |policy: &&Value| policy.get("Name") == Some(&json!("control-plane"));
    let ours = policies.as_array().unwrap().iter().find(is_ours).unwrap();
    let id = ours.get("ID").and_then(Value::as_str).unwrap();
    let policy = json!({"ID": id, "Name": "control-plane", "Rules": rules});
    scene.consul(Method::PUT, &format!("/v1/acl/policy/{id}"), Some(policy)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_shrinks_when_the_token_loses_its_rights_and_the_mesh_follows_when_they_are_back() {
    let test =
        "nothing_shrinks_when_the_token_loses_its_rights_and_the_mesh_follows_when_they_are_back";
    let shape = |options: &mut WorldOptions| {
        options.rules = Some(RULES.to_owned());
        let management_token = Some(MANAGEMENT.to_owned());
        options.consul = Some(ConsulOptions { management_token, ..ConsulOptions::default() });
    };
    let Some(mut scene) = Scene::trading(test, 2, shape).await else { return };
    let load = scene.load(Call::Get, "/trading/orders/7");
    grant(&scene, "").await;
    // Whatever is asked from now on is answered with nothing.
    scene.consul(Method::PUT, "/v1/kv/mesh/systems/research", Some(json!("x"))).await;
    soon("every control plane says that its token sees nothing", async || {
        let problems = scene.problems().await?;
        let stale = super::statuses(&scene).await?;
        let is_said = stale.iter().all(|status| {
            status
                .sources
                .iter()
                .any(|source| source.error.as_ref().is_some_and(|error| error.contains("token")))
        });
        if is_said { Ok(()) } else { Err(format!("{stale:?} {problems:?}")) }
    })
    .await;
    let before = instances(&scene).await.unwrap();
    let holds = async || {
        judge(&scene.get("/trading/orders/7").await?, 200, "instance")?;
        let now = instances(&scene).await?;
        if now == before { Ok(()) } else { Err(format!("{now:?}")) }
    };
    wait::holds("nothing shrinks", Duration::from_secs(5), holds).await.unwrap();
    assert_eq!(before, [3, 3]);

    grant(&scene, RULES).await;
    all_are_fresh(&scene).await;
    follows_again(&mut scene).await;
    none_lost(load).await;
    scene.end().await;
}

/// How many instances each control plane knows.
async fn instances(scene: &Scene) -> Result<Vec<usize>, String> {
    let mut counts = Vec::new();
    for control_plane in &scene.world.control_planes {
        let services: Vec<contract::api::ServiceView> =
            control_plane.get("/v1/services").await.map_err(|error| lab::chain(&error))?;
        counts.push(services.iter().map(|service| service.instances.len()).sum());
    }
    Ok(counts)
}
