//! What surprises people.

use serde_json::json;

use crate::support::{Scene, Web, ids, of_status};

#[tokio::test]
async fn a_bad_canary_is_reverted_alone_and_live_allocations_are_untouched() {
    let Some(scene) = Scene::start("bad canary").await else { return };
    let more = "canary = 1\nauto_revert = true\nauto_promote = true\n";
    scene.run_detached(&scene.web(&Web { count: 2, ..Web::default().update(more) })).await;
    scene.deployed("web", "successful").await;
    let live = ids(&scene.running("web", 2).await);
    let bad = Web { count: 2, version: "2", ..Web::default().sick().update(more) };
    scene.run_detached(&scene.web(&bad)).await;
    let reverted = |own: &serde_json::Value| {
        own["Version"] == 2 && own["TaskGroups"][0]["Tasks"][0]["Env"]["VERSION"] == "1"
    };
    scene.until("the job is reverted", "/v1/job/web", reverted).await;
    scene.deployed("web", "successful").await;
    let all = scene.get("/v1/job/web/allocations").await;
    assert_eq!(ids(&scene.running("web", 2).await), live, "{all:#}");
}

/// Trap 1: a revert goes back to the old version with its own update block.
#[tokio::test]
async fn a_revert_to_a_version_with_canaries_waits_for_a_promotion_when_the_bad_one_had_none() {
    let Some(scene) = Scene::start("trap 1").await else { return };
    let old = Web::default().update("canary = 1\nauto_revert = true\n");
    scene.run_detached(&scene.web(&old)).await;
    scene.deployed("web", "successful").await;
    let bad = Web { version: "2", ..Web::default().sick().update("auto_revert = true\n") };
    scene.run_detached(&scene.web(&bad)).await;
    let waits = |own: &serde_json::Value| {
        own["JobVersion"] == 2
            && own["StatusDescription"].as_str().unwrap().contains("requires manual promotion")
    };
    let deployment =
        scene.until("the revert waits for a promotion", "/v1/job/web/deployment", waits).await;
    assert_eq!(deployment["Status"], "running");
    // Meanwhile the bad one goes on, registered.
    let is_bad = |own: &serde_json::Value| own["JobVersion"] == 1;
    let all = scene.get("/v1/job/web/allocations").await;
    let bad = of_status(&all, "running").into_iter().find(is_bad);
    let bad = bad.unwrap_or_else(|| panic!("{all:#}"));
    let listed = scene.get("/v1/service/web").await;
    let listed = listed.as_array().unwrap();
    assert!(listed.iter().any(|own| own["AllocID"] == bad["ID"]), "{listed:#?}");
}

/// Trap 2.
#[tokio::test]
async fn the_id_of_a_job_is_its_label_whatever_its_name_says() {
    let Some(scene) = Scene::start("name").await else { return };
    let text = scene.web(&Web::default());
    let named = format!(
        "variable \"x\" {{\n  default = \"other\"\n}}\n{}",
        text.replacen("datacenters", "name = var.x\n  datacenters", 1)
    );
    scene.run_detached(&named).await;
    let job = scene.get("/v1/job/web").await;
    assert_eq!((&job["ID"], &job["Name"]), (&json!("web"), &json!("other")));
    let said = scene.say(&["job", "stop", "-yes", "other"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let label = scene.file("label.nomad.hcl", &text.replacen("job \"web\"", "job \"${var.x}\"", 1));
    assert_eq!(scene.say(&["job", "validate", &label]).await.code, 1);
}

/// Stops `web`, waits, purges it.
async fn purge(scene: &Scene) {
    assert_eq!(scene.say(&["job", "stop", "web"]).await.code, 0);
    scene
        .until("it is complete", "/v1/job/web/allocations", |all| {
            all[0]["ClientStatus"] == "complete"
        })
        .await;
    assert_eq!(scene.say(&["job", "stop", "-purge", "web"]).await.code, 0);
}

/// Trap 3, as far as it needs no full queue: stop, wait, purge.
#[tokio::test]
async fn a_job_that_is_purged_after_its_allocations_ended_is_gone_whole() {
    let Some(scene) = Scene::start("purge").await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    purge(&scene).await;
    assert_eq!(scene.get("/v1/jobs").await, json!([]));
    assert_eq!(scene.get("/v1/service/web").await, json!([]));
}

/// Trap 4.
#[tokio::test]
async fn a_block_on_one_line_holds_one_argument_and_no_block() {
    let Some(scene) = Scene::start("one line").await else { return };
    for (inner, code) in [
        ("meta { a = 1 }", 0),
        ("meta { a = 1 b = 2 }", 1),
        ("ephemeral_disk { size = 100 }", 0),
        ("network { port \"x\" { to = 1 } }", 1),
    ] {
        let text = format!(
            "job \"a\" {{\n  group \"g\" {{\n    {inner}\n    task \"t\" {{\n      driver = \"raw_exec\"\n      config {{\n        command = \"/bin/true\"\n      }}\n    }}\n  }}\n}}\n"
        );
        let said = scene.say(&["job", "validate", &scene.file("a.nomad.hcl", &text)]).await;
        assert_eq!(said.code, code, "{inner}: {said:?}");
    }
}

/// Trap 5.
#[tokio::test]
async fn an_unknown_key_of_a_drivers_config_passes_until_the_task_starts() {
    let Some(scene) = Scene::start("driver config").await else { return };
    let text = scene.web(&Web::default()).replacen("config {", "config {\nno_such_key = 1", 1);
    let file = scene.file("a.nomad.hcl", &text);
    assert_eq!(scene.say(&["job", "validate", &file]).await.code, 0);
    scene.run_detached(&text).await;
    let failed = |all: &serde_json::Value| all[0]["TaskStates"]["app"]["Failed"] == true;
    let all = scene.until("the task fails", "/v1/job/web/allocations", failed).await;
    let events = all[0]["TaskStates"]["app"]["Events"].as_array().unwrap().clone();
    assert!(events.iter().any(|event| event["Type"] == "Failed Validation"), "{events:#?}");
}

/// Traps 6 and 7.
#[tokio::test]
async fn null_leaves_an_argument_out_and_what_nomad_fills_in_mixes_with_variables() {
    let Some(scene) = Scene::start("null").await else { return };
    let text = scene.web(&Web { version: "${var.release}-${NOMAD_ALLOC_INDEX}", ..Web::default() });
    let text =
        text.replacen("config {", "config {\nno_such_key = var.release == \"3\" ? null : 1", 1);
    let text = format!("variable \"release\" {{\n  type = string\n}}\n{text}");
    let file = scene.file("a.nomad.hcl", &text);
    let said = scene.say(&["job", "run", "-var", "release=3", &file]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let environment = scene.environment("web").await;
    assert_eq!(environment["VERSION"], "3-0");
    let said = scene.say(&["job", "validate", &file]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("release"), "{said:?}");
}

/// The same with a canary that ends, is tried again by its reschedule block, and fails the deployment at its deadline.
#[tokio::test]
async fn canaries_that_end_are_reverted_alone_and_live_allocations_are_untouched() {
    let Some(scene) = Scene::start("ending canary").await else { return };
    let more =
        "canary = 1\nauto_revert = true\nauto_promote = true\nhealth_check = \"task_states\"\n";
    let of = |version, deadlines: &Web| {
        let web = Web { count: 3, version, deadlines: deadlines.deadlines, ..Web::default() };
        let text = scene.web(&web.update(more));
        text.replacen(
            "attempts  = 0\n      unlimited = false",
            "delay = \"5s\"\ndelay_function = \"constant\"\nunlimited = true",
            1,
        )
    };
    let (patient, short) = (Web::default(), Web::default().sick());
    for version in ["1", "2"] {
        scene.run_detached(&of(version, &patient)).await;
        let number = version.parse::<u64>().unwrap() - 1;
        scene
            .until("it is deployed", "/v1/job/web/deployment", |own| {
                own["JobVersion"] == number && own["Status"] == "successful"
            })
            .await;
    }
    let live = ids(&scene.running("web", 3).await);
    let bad = of("3", &short);
    let (before, rest) = bad.split_once("config {").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    // `${…}` of the address ends at a brace of its own.
    let (_, after) = after.split_once('}').unwrap();
    let bad =
        format!("{before}config {{\ncommand = \"/bin/sh\"\nargs = [\"-c\", \"exit 3\"]\n}}{after}");
    scene.run_detached(&bad).await;
    let reverted =
        |own: &serde_json::Value| own["JobVersion"] == 3 && own["Status"] == "successful";
    let deployment =
        scene.until("the revert is deployed", "/v1/job/web/deployment", reverted).await;
    assert_eq!(deployment["TaskGroups"]["web"]["DesiredCanaries"], 0, "{deployment:#}");
    let all = scene.get("/v1/job/web/allocations").await;
    assert_eq!(ids(&scene.running("web", 3).await), live, "{all:#}");
}

#[tokio::test]
async fn a_job_that_comes_back_after_a_purge_has_nothing_of_the_one_before() {
    let Some(scene) = Scene::start("purged and back").await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    let old = ids(&scene.running("web", 1).await);
    purge(&scene).await;
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    let all = scene.get("/v1/job/web/allocations").await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all:#}");
    assert_ne!(ids(&scene.running("web", 1).await), old);
    assert_eq!(scene.get("/v1/job/web").await["Version"], 0);
}
