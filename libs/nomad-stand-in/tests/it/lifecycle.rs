//! The order of start and stop, signals, and what a crash of a sidecar does.

use lab::{chain, wait};

use crate::support::{SOON, Scene, Web, of_status};

/// A sidecar before the application of [`Web`].
fn sidecar(scene: &Scene, more: &str) -> String {
    let config = scene.app("sidecar", "-");
    // It stands behind the application's own attributes, so it closes and opens the task.
    format!(
        "resources {{\n  cpu    = 20\n  memory = 32\n}}\n}}\ntask \"sidecar\" {{\ndriver = \"raw_exec\"\nlifecycle {{\n  hook    = \"prestart\"\n  sidecar = true\n}}\n{config}\n{more}"
    )
}

#[tokio::test]
async fn a_sidecar_starts_first_and_the_application_as_soon_as_it_runs() {
    let Some(scene) = Scene::start("start").await else { return };
    let web = Web { task: sidecar(&scene, "kill_signal = \"SIGTERM\""), ..Web::default() };
    scene.run_detached(&scene.web(&web)).await;
    let app = scene.said("app", "start").await;
    scene.said("sidecar", "start").await;
    let path = format!("/v1/allocation/{}", app.allocation);
    let started = |task: &str, own: &serde_json::Value| {
        own["TaskStates"][task]["StartedAt"].as_str().map(str::to_owned)
    };
    let own = scene.get(&path).await;
    assert!(started("sidecar", &own) < started("app", &own), "{own:#}");
}

#[tokio::test]
async fn services_go_first_then_the_delay_then_the_application_then_the_sidecar() {
    let Some(scene) = Scene::start("stop").await else { return };
    let task = sidecar(&scene, "kill_signal = \"SIGTERM\"");
    let web = Web { group: "shutdown_delay = \"10s\"", task, ..Web::default() };
    scene.run_detached(&scene.web(&web)).await;
    scene.deployed("web", "successful").await;
    assert_eq!(scene.get("/v1/service/web").await.as_array().unwrap().len(), 1);
    let begin = std::time::Instant::now();
    assert_eq!(scene.say(&["job", "stop", "-detach", "web"]).await.code, 0);
    scene
        .until("the service is gone", "/v1/service/web", |all| {
            all.as_array().is_some_and(Vec::is_empty)
        })
        .await;
    let told = scene.lines();
    assert!(told.iter().all(|line| line.what == "start"), "nobody was told to end yet: {told:#?}");
    let end = scene.said("sidecar", "end").await;
    let order: Vec<String> =
        scene.lines().iter().map(|line| format!("{} {}", line.name, line.what)).skip(2).collect();
    assert_eq!(order, ["app SIGTERM", "app end", "sidecar SIGTERM", "sidecar end"]);
    let waited = begin.elapsed().as_secs_f64();
    assert!(waited >= 9.9, "the delay was {waited} s, {end:?}");
}

#[tokio::test]
async fn the_signal_is_sigint_unless_the_job_says_another() {
    let Some(scene) = Scene::start("signal").await else { return };
    let web = Web { task: sidecar(&scene, ""), ..Web::default() };
    scene.run_detached(&scene.web(&web)).await;
    scene.deployed("web", "successful").await;
    scene.say(&["job", "stop", "-detach", "web"]).await;
    let end = scene.said("sidecar", "end").await;
    let signals: Vec<String> = scene
        .lines()
        .iter()
        .filter(|line| line.what.starts_with("SIG") && line.allocation == end.allocation)
        .map(|line| format!("{} {}", line.name, line.what))
        .collect();
    assert_eq!(signals, ["app SIGTERM", "sidecar SIGINT"]);
}

#[tokio::test]
async fn a_task_that_does_not_end_is_killed_after_its_kill_timeout() {
    let Some(scene) = Scene::start("kill_timeout").await else { return };
    let task = "kill_timeout = \"2s\"\nenv {\nLINGER = \"60\"\n}".to_owned();
    let text = scene.web(&Web { task, ..Web::default() });
    let text = text.replacen(
        "env {\n        VERSION = \"1\"\n        SICK    = \"/none\"\n      }",
        "",
        1,
    );
    scene.run_detached(&text).await;
    scene.deployed("web", "successful").await;
    scene.say(&["job", "stop", "-detach", "web"]).await;
    scene.said("app", "SIGTERM").await;
    let all = scene
        .until("it is complete", "/v1/job/web/allocations", |all| {
            all[0]["ClientStatus"] == "complete"
        })
        .await;
    // By the agent's own clock, however late anybody looks.
    let at = |kind: &str| {
        let events = all[0]["TaskStates"]["app"]["Events"].as_array().unwrap();
        events.iter().find(|event| event["Type"] == kind).unwrap()["Time"].as_i64().unwrap()
    };
    assert!(at("Terminated") - at("Killing") >= 2_000_000_000, "{all:#}");
    assert!(scene.lines().iter().all(|line| line.what != "end"), "{:#?}", scene.lines());
}

#[tokio::test]
async fn a_sidecar_that_crashes_is_restarted_alone() {
    let Some(scene) = Scene::start("crash").await else { return };
    let restart = "kill_signal = \"SIGTERM\"\nrestart {\nattempts = 3\ninterval = \"60s\"\ndelay = \"1s\"\nmode = \"fail\"\n}";
    let web = Web { task: sidecar(&scene, restart), ..Web::default() };
    scene.run_detached(&scene.web(&web)).await;
    scene.deployed("web", "successful").await;
    let app = scene.said("app", "start").await;
    let victim = scene.process_of("sidecar");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(victim), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    let again = wait::until("the sidecar starts again", SOON, async || {
        let starts = scene
            .lines()
            .iter()
            .filter(|line| line.name == "sidecar" && line.what == "start")
            .count();
        if starts == 2 { Ok(()) } else { Err(format!("{starts} starts")) }
    });
    again.await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let apps = scene.lines().into_iter().filter(|line| line.name == "app").collect::<Vec<_>>();
    assert_eq!(apps, std::slice::from_ref(&app), "the application goes on");
    let own = scene.get(&format!("/v1/allocation/{}", app.allocation)).await;
    assert_eq!(own["TaskStates"]["sidecar"]["Restarts"], 1, "{own:#}");
    assert_eq!(own["TaskStates"]["app"]["Restarts"], 0, "{own:#}");
    assert_eq!(of_status(&scene.get("/v1/job/web/allocations").await, "running").len(), 1);
}
