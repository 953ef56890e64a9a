//! Updates: one after the other, canaries, all at once.

use serde_json::{Value, json};

use crate::support::{Scene, Web, ids, of_status};

fn version(own: &Value) -> i64 {
    own["JobVersion"].as_i64().unwrap()
}

#[tokio::test]
async fn a_rolling_update_has_no_surge() {
    let Some(scene) = Scene::start("rolling").await else { return };
    let web = |version| Web { count: 2, version, ..Web::default().update("max_parallel = 1\n") };
    scene.run_detached(&scene.web(&web("1"))).await;
    scene.deployed("web", "successful").await;
    scene.run_detached(&scene.web(&web("2"))).await;
    let mut most = 0;
    scene
        .until("the new version is deployed", "/v1/job/web/deployment", |own| {
            own["JobVersion"] == 1 && own["Status"] == "successful"
        })
        .await;
    // Who ran at the same time: starts and ends in the order of time.
    let mut running = 0;
    for line in scene.lines() {
        match line.what.as_str() {
            "start" => running += 1,
            "end" => running -= 1,
            _ => {}
        }
        most = most.max(running);
    }
    assert_eq!(most, 2, "{:#?}", scene.lines());
    let all = scene.running("web", 2).await;
    assert!(all.iter().all(|own| version(own) == 1), "{all:#?}");
}

#[tokio::test]
async fn canaries_come_in_addition_and_promotion_stops_all_old_ones() {
    let Some(scene) = Scene::start("blue/green").await else { return };
    let web = |version| Web {
        count: 2,
        version,
        ..Web::default().update("max_parallel = 2\ncanary = 2\n")
    };
    scene.run_detached(&scene.web(&web("1"))).await;
    let first = scene.deployed("web", "successful").await;
    assert_eq!(
        first["TaskGroups"]["web"]["DesiredCanaries"], 0,
        "the first version has no canaries"
    );
    let old = ids(&scene.running("web", 2).await);
    scene.run_detached(&scene.web(&web("2"))).await;
    let deployment = scene
        .until("both canaries are healthy", "/v1/job/web/deployment", |own| {
            own["TaskGroups"]["web"]["HealthyAllocs"] == 2 && own["JobVersion"] == 1
        })
        .await;
    assert_eq!(scene.running("web", 4).await.len(), 4);
    let id = deployment["ID"].as_str().unwrap();
    scene
        .nomad
        .call(
            http::Method::POST,
            &format!("/v1/deployment/promote/{id}"),
            Some(json!({"DeploymentID": id, "All": true})),
        )
        .await
        .unwrap();
    scene.deployed("web", "successful").await;
    let new = ids(&scene.running("web", 2).await);
    assert!(new.iter().all(|own| !old.contains(own)), "{new:?} {old:?}");
}

#[tokio::test]
async fn a_change_in_place_keeps_every_allocation() {
    let Some(scene) = Scene::start("in place").await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    let before = ids(&scene.running("web", 1).await);
    scene.run_detached(&scene.web(&Web { service: "tags = [\"new\"]", ..Web::default() })).await;
    scene
        .until("the tag is there", "/v1/service/web", |all| all[0]["Tags"] == json!(["new"]))
        .await;
    assert_eq!(ids(&scene.running("web", 1).await), before);
    assert_eq!(scene.lines().len(), 1, "it was not started again");
}

#[tokio::test]
async fn a_failed_deployment_without_revert_leaves_the_bad_version() {
    let Some(scene) = Scene::start("no revert").await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    scene.run_detached(&scene.web(&Web { version: "2", ..Web::default().sick() })).await;
    scene
        .until("the second deployment failed", "/v1/job/web/deployment", |own| {
            own["JobVersion"] == 1 && own["Status"] == "failed"
        })
        .await;
    let job = scene.get("/v1/job/web").await;
    assert_eq!((&job["Version"], &job["Stable"]), (&json!(1), &json!(false)));
    let said = scene.say(&["job", "revert", "-detach", "web", "0"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    scene
        .until("the third is deployed", "/v1/job/web/deployment", |own| {
            own["JobVersion"] == 2 && own["Status"] == "successful"
        })
        .await;
    let all = scene.get("/v1/job/web/allocations").await;
    assert_eq!(of_status(&all, "running").len(), 1);
}
