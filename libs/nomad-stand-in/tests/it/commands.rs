//! Commands and their exit codes.

use http::Method;
use serde_json::json;

use crate::support::{Scene, Web};

#[tokio::test]
async fn validate_says_0_for_a_good_job_and_1_for_a_bad_one() {
    let Some(scene) = Scene::start("validate").await else { return };
    let good = scene.file("good.nomad.hcl", &scene.web(&Web::default()));
    let said = scene.say(&["job", "validate", &good]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("Job validation successful"), "{said:?}");
    let measured = scene.file("measured.nomad.hcl", include_str!("measured.nomad.hcl"));
    let said = scene.say(&["job", "validate", &measured]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for (name, bad, words) in [
        (
            "argument",
            scene.web(&Web { group: "cuont = 3", ..Web::default() }),
            "An argument named \"cuont\" is not expected here",
        ),
        (
            "type",
            scene.web(&Web { group: "shutdown_delay = \"soon\"", ..Web::default() }),
            "duration",
        ),
        (
            "enum",
            scene.web(&Web {
                task: "lifecycle {\nhook = \"prestrt\"\n}".to_owned(),
                ..Web::default()
            }),
            "lifecycle",
        ),
        (
            "update",
            scene.web(&Web::default().update("auto_promote = true\n")),
            "Auto Promote requires a Canary count",
        ),
    ] {
        let file = scene.file("bad.nomad.hcl", &bad);
        let said = scene.say(&["job", "validate", &file]).await;
        assert_eq!(said.code, 1, "{name}: {said:?}");
        assert!(format!("{}{}", said.out, said.err).contains(words), "{name}: {said:?}");
    }
}

#[tokio::test]
async fn validate_needs_no_server() {
    let Some(scene) = Scene::start("validate").await else { return };
    let good = scene.file("good.nomad.hcl", &scene.web(&Web::default()));
    let said = scene.say(&["job", "validate", "-address=http://127.0.0.1:9", &good]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("Driver configuration not validated"), "{said:?}");
    // What needs no server is looked at all the same.
    let task = "lifecycle {\nhook = \"prestrt\"\n}".to_owned();
    let bad = scene.file("bad.nomad.hcl", &scene.web(&Web { task, ..Web::default() }));
    let said = scene.say(&["job", "validate", "-address=http://127.0.0.1:9", &bad]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("lifecycle"), "{said:?}");
}

#[tokio::test]
async fn plan_says_0_without_changes_1_with_some_and_255_for_an_error() {
    let Some(scene) = Scene::start("plan").await else { return };
    let text = scene.web(&Web::default());
    let file = scene.file("job.nomad.hcl", &text);
    let said = scene.say(&["job", "plan", "-no-color", &file]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains("+ Job: \"web\"") && said.out.contains("Job Modify Index: 0"),
        "{said:?}"
    );
    assert_eq!(scene.nomad.get("/v1/jobs").await.unwrap(), json!([]), "a plan registers nothing");
    scene.run_detached(&text).await;
    scene.deployed("web", "successful").await;
    let said = scene.say(&["job", "plan", &file]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let said = scene.say(&["job", "plan", &scene.file("bad.nomad.hcl", "job \"x\" {")]).await;
    assert_eq!(said.code, 255, "{said:?}");
    // Tags change in place: no allocation is made or ended, so it is 0 again.
    let tagged = scene.web(&Web { service: "tags = [\"a\"]", ..Web::default() });
    let said = scene.say(&["job", "plan", &scene.file("tagged.nomad.hcl", &tagged)]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 in-place update"), "{said:?}");
}

#[tokio::test]
async fn a_wrong_check_index_is_refused_and_changes_nothing() {
    let Some(scene) = Scene::start("check-index").await else { return };
    let file = scene.file("job.nomad.hcl", &scene.web(&Web::default()));
    let said = scene.say(&["job", "run", "-detach", "-check-index", "0", &file]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("Evaluation ID: "), "{said:?}");
    let before = scene.get("/v1/job/web").await;
    let said = scene.say(&["job", "run", "-check-index=0", &file]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("Enforcing job modify index 0: job already exists"), "{said:?}");
    assert!(said.err.contains("Job not updated"), "{said:?}");
    let said = scene.say(&["job", "run", "-check-index=7", &file]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("job exists with conflicting job modify index: "), "{said:?}");
    assert_eq!(scene.get("/v1/job/web").await["Version"], before["Version"]);
    let body = json!({"Job": before, "EnforceIndex": true, "JobModifyIndex": 999});
    let answer = scene.nomad.send(Method::POST, "/v1/jobs", Some(&body)).await.unwrap();
    assert_eq!(answer.status, 500);
    let index = &before["JobModifyIndex"];
    let wanted = format!(
        "Enforcing job modify index 999: job exists with conflicting job modify index: {index}"
    );
    assert!(answer.text().contains(&wanted), "{}", answer.text());
}

#[tokio::test]
async fn run_says_1_when_the_deployment_fails_and_0_when_it_does_not_wait_for_it() {
    let Some(scene) = Scene::start("failing").await else { return };
    let sick = Web::default().sick();
    scene.run_detached(&scene.web(&Web { id: "detached", ..sick })).await;
    let file =
        scene.file("job.nomad.hcl", &scene.web(&Web { id: "followed", ..Web::default().sick() }));
    let said = scene.say(&["job", "run", &file]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("failed"), "{said:?}");
    scene.deployed("detached", "failed").await;
}

#[tokio::test]
async fn run_says_1_when_the_deployment_fails_and_is_reverted() {
    let Some(scene) = Scene::start("reverting").await else { return };
    let good = Web::default().update("auto_revert = true\n");
    let file = scene.file("job.nomad.hcl", &scene.web(&good));
    let said = scene.say(&["job", "run", &file]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let bad = Web { version: "2", ..Web::default().sick().update("auto_revert = true\n") };
    let file = scene.file("job.nomad.hcl", &scene.web(&bad));
    let said = scene.say(&["job", "run", &file]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let job = scene.get("/v1/job/web").await;
    assert_eq!((&job["Version"], &job["Stable"]), (&json!(2), &json!(true)), "{job:#}");
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Env"]["VERSION"], "1");
}

#[tokio::test]
async fn run_says_2_when_there_is_no_room() {
    let Some(scene) = Scene::start("no room").await else { return };
    let large = scene.web(&Web {
        group: "constraint {\nattribute = \"${attr.kernel.name}\"\nvalue = \"plan9\"\n}",
        update: "max_parallel = 0".to_owned(),
        ..Web::default()
    });
    let said = scene.say(&["job", "run", &scene.file("job.nomad.hcl", &large)]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.out.contains("failed to place"), "{said:?}");
}

#[tokio::test]
async fn a_manual_canary_lets_run_hang_and_promote_detached_and_status_monitor_end_well() {
    let Some(scene) = Scene::start("promote").await else { return };
    scene.run_detached(&scene.web(&Web::default().update("canary = 1\n"))).await;
    scene.deployed("web", "successful").await;
    let file = scene.file(
        "job.nomad.hcl",
        &scene.web(&Web { version: "2", ..Web::default().update("canary = 1\n") }),
    );
    let hangs = scene.nomad.run(&["job", "run", &file], std::time::Duration::from_secs(8)).await;
    assert!(hangs.is_err(), "it waits for a promotion: {hangs:?}");
    let said = scene.say(&["job", "deployments", "-latest", "-json", "web"]).await;
    let newest: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let id = newest["ID"].as_str().unwrap();
    scene
        .until("the canary is healthy", &format!("/v1/deployment/{id}"), |own| {
            own["TaskGroups"]["web"]["HealthyAllocs"] == 1
        })
        .await;
    let said = scene.say(&["deployment", "status", "-json", id]).await;
    let status: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let group = &status["TaskGroups"]["web"];
    assert_eq!(status["Status"], "running");
    assert!(
        status["StatusDescription"].as_str().unwrap().contains("requires manual promotion"),
        "{status:#}"
    );
    assert_eq!(
        (&group["DesiredCanaries"], &group["Promoted"], &group["HealthyAllocs"]),
        (&json!(1), &json!(false), &json!(1))
    );
    assert_eq!(group["PlacedCanaries"].as_array().unwrap().len(), 1);
    let said = scene.say(&["deployment", "promote", "-detach", id]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let said = scene.say(&["deployment", "status", "-monitor", id]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(scene.get(&format!("/v1/deployment/{id}")).await["Status"], "successful");
}

#[tokio::test]
async fn stop_and_purge_say_0_and_an_unknown_job_1() {
    let Some(scene) = Scene::start("stop").await else { return };
    let file = scene.file("job.nomad.hcl", &scene.web(&Web::default()));
    assert_eq!(scene.say(&["job", "run", &file]).await.code, 0);
    let said = scene.say(&["job", "stop", "web"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let path = "/v1/job/web/allocations";
    scene.until("it is complete", path, |all| all[0]["ClientStatus"] == "complete").await;
    assert_eq!(scene.get("/v1/job/web").await["Status"], "dead");
    let said = scene.say(&["job", "stop", "-purge", "web"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let answer = scene.nomad.send(Method::GET, "/v1/job/web", None).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.text().trim()), (404, "job not found"));
    for words in [["job", "stop", "web"], ["job", "status", "web"]] {
        let said = scene.say(&words).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("No job(s) with prefix or ID \"web\" found"), "{said:?}");
    }
}
