//! An agent's own life: its configuration, its tokens, its death and its hosts.

use std::path::Path;
use std::time::Duration;

use http::Method;
use lab::LabError;
use lab::nomad::{self, Kind, NomadOptions};
use lab::{parts, wait};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{SOON, Scene, Web, ids};

#[tokio::test]
async fn tasks_outlive_a_killed_agent_and_belong_to_the_next_one() {
    let options = NomadOptions { durable: true, ..NomadOptions::default() };
    let Some(mut scene) = Scene::with("killed agent", options).await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    let before = ids(&scene.running("web", 1).await);
    scene.nomad.kill().await.unwrap();
    scene.nomad.start_again().await.unwrap();
    assert_eq!(ids(&scene.running("web", 1).await), before);
    assert_eq!(scene.get("/v1/service/web").await.as_array().unwrap().len(), 1);
    assert_eq!(scene.lines().len(), 1, "it was neither ended nor started again");
    assert_eq!(scene.say(&["job", "stop", "-detach", "web"]).await.code, 0);
    scene.said("app", "end").await;
}

#[tokio::test]
async fn an_agent_that_is_interrupted_ends_at_once_and_its_tasks_first() {
    let Some(mut scene) = Scene::start("interrupted agent").await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    scene.nomad.process().unwrap().signal(Signal::SIGINT).unwrap();
    let within = Duration::from_secs(30);
    wait::until("the agent has ended", within, async || match scene.nomad.check() {
        Err(LabError::Ended { status, .. }) => Ok(status),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    assert!(scene.lines().iter().any(|line| line.what == "end"), "{:?}", scene.lines());
}

#[tokio::test]
async fn tasks_end_with_their_nomad_though_its_agent_was_killed_before_and_leave_no_folder() {
    let options = NomadOptions { durable: true, ..NomadOptions::default() };
    let Some(mut scene) = Scene::with("end of all", options).await else { return };
    if !scene.nomad.is_stand_in() {
        return parts::skip("end of all", "stand-in", "a real Nomad's tasks outlive it");
    }
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    let task = format!("/proc/{}", scene.process_of("app"));
    scene.nomad.kill().await.unwrap();
    assert!(Path::new(&task).exists());
    let folder = scene.folder.path().to_owned();
    let Scene { nomad, folder: of_scene, .. } = scene;
    drop(nomad);
    wait::until("its task ends", SOON, async || {
        if Path::new(&task).exists() { Err("it runs") } else { Ok(()) }
    })
    .await
    .unwrap();
    drop(of_scene);
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_token_that_is_not_allowed_is_denied_in_plain_text() {
    let token = |secret: &str, policy: &str| (secret.to_owned(), policy.to_owned());
    let tokens =
        vec![token("all", "management"), token("reader", "read"), token("batch", "dispatch")];
    if nomad::choose().is_ok_and(|(kind, _)| kind == Kind::Real) {
        return parts::skip("tokens", "stand-in", "a real Nomad's tokens are made by its own API");
    }
    let options = NomadOptions { tokens, ..NomadOptions::default() };
    let Some(scene) = Scene::with("tokens", options).await else { return };
    let file = scene.file("job.nomad.hcl", &scene.web(&Web::default()));
    for (secret, words, code) in [
        ("all", &["job", "run", "-detach"][..], 0),
        ("reader", &["job", "run", "-detach"], 1),
        ("reader", &["job", "plan"], 255),
        ("nonsense", &["job", "run", "-detach"], 1),
    ] {
        let flag = format!("-token={secret}");
        let words: Vec<&str> =
            words.iter().copied().chain([flag.as_str(), file.as_str()]).collect();
        let said = scene.say(&words).await;
        assert_eq!(said.code, code, "{words:?}: {said:?}");
        let is_denied =
            said.err.contains("Permission denied") || said.err.contains("token not found");
        assert_eq!(is_denied, code != 0, "{words:?}: {said:?}");
    }
    let said = scene.say(&["job", "status", "-token=reader", "web"]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

#[tokio::test]
async fn a_configuration_with_a_key_that_nobody_knows_is_refused() {
    let Some(scene) = Scene::start("configuration").await else { return };
    let bad = scene.file("agent.hcl", "data_dir = \"/nowhere\"\nregoin = \"eu\"\n");
    let said = scene.say(&["config", "validate", &bad]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(format!("{}{}", said.out, said.err).contains("regoin"), "{said:?}");
    let output = scene
        .nomad
        .run(&["agent", "-dev", &format!("-config={bad}")], Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let good = scene.file("good.hcl", "data_dir = \"/nowhere\"\nclient {\n  enabled = true\n}\n");
    let said = scene.say(&["config", "validate", &good]).await;
    assert_eq!((said.code, said.out.trim()), (0, "Configuration is valid!"), "{said:?}");
}

#[tokio::test]
async fn a_drained_host_gives_its_allocations_to_another_before_they_end() {
    let options = NomadOptions { nodes: 2, ..NomadOptions::default() };
    let Some(scene) = Scene::with("drain", options).await else { return };
    if !scene.nomad.is_stand_in() {
        return parts::skip("drain", "stand-in", "a real agent is one host");
    }
    scene.run_detached(&scene.web(&Web { count: 2, ..Web::default() })).await;
    scene.deployed("web", "successful").await;
    let all = scene.running("web", 2).await;
    assert_ne!(all[0]["NodeID"], all[1]["NodeID"], "instances are spread");
    let node = all[0]["NodeID"].as_str().unwrap();
    let said = scene.say(&["node", "drain", "-enable", "-yes", "-deadline", "60s", node]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let all = scene.running("web", 2).await;
    assert!(all.iter().all(|own| own["NodeID"] != node), "{all:#?}");
    let drained = scene.get(&format!("/v1/node/{node}")).await;
    assert_eq!(
        (&drained["SchedulingEligibility"], &drained["Drain"]),
        (&json!("ineligible"), &json!(false))
    );
    assert_eq!(scene.say(&["node", "eligibility", "-enable", node]).await.code, 0);
    assert_eq!(scene.get(&format!("/v1/node/{node}")).await["SchedulingEligibility"], "eligible");
}

#[tokio::test]
async fn a_stopped_allocation_is_replaced_by_another() {
    let Some(scene) = Scene::start("alloc stop").await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    let before = ids(&scene.running("web", 1).await);
    let said = scene.say(&["alloc", "stop", "-detach", &before[0]]).await;
    assert_eq!(said.code, 0, "{said:?}");
    scene
        .until("it is replaced", "/v1/service/web", |all| {
            all.as_array()
                .is_some_and(|all| all.len() == 1 && all[0]["AllocID"] != before[0].as_str())
        })
        .await;
    let old = scene.get(&format!("/v1/allocation/{}", before[0])).await;
    assert_eq!(old["DesiredStatus"], "stop");
}

#[tokio::test]
async fn a_parsed_job_is_the_one_that_is_run() {
    let Some(scene) = Scene::start("parse").await else { return };
    let text = format!(
        "variable \"v\" {{\n  type = string\n}}\n{}",
        scene.web(&Web { version: "${var.v}", ..Web::default() })
    );
    let body = json!({"JobHCL": text, "Canonicalize": true, "Variables": "v = \"7\"\n"});
    let job = scene.nomad.call(Method::POST, "/v1/jobs/parse", Some(body)).await.unwrap();
    assert_eq!(job["TaskGroups"][0]["Tasks"][0]["Env"]["VERSION"], "7");
    assert_eq!(job["TaskGroups"][0]["Update"]["MinHealthyTime"], 1_000_000_000_u64);
    scene.nomad.call(Method::POST, "/v1/jobs", Some(json!({"Job": job}))).await.unwrap();
    scene.deployed("web", "successful").await;
    let body = json!({"JobHCL": text});
    let answer = scene.nomad.send(Method::POST, "/v1/jobs/parse", Some(&body)).await.unwrap();
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("variable \"v\"") && !answer.text().starts_with('{'),
        "{}",
        answer.text()
    );
}
