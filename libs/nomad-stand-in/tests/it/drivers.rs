//! What the stand-in makes of docker's images and of memory: a real Nomad needs a Docker and a `chroot_env` for these.

use std::path::Path;

use http::Method;
use lab::folder::Folder;
use lab::nomad::NomadOptions;
use lab::parts::skip;
use serde_json::{Value, json};

use crate::support::{Scene, Web, image};

/// A batch of one task that is not tried again.
async fn run(scene: &Scene, driver: &str, config: Value, memory: u64) -> Value {
    let job = json!({"Job": {
        "ID": "once", "Type": "batch", "Datacenters": ["dc1"],
        "TaskGroups": [{
            "Name": "g",
            "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
            "Tasks": [{"Name": "t", "Driver": driver, "Config": config, "Resources": {"CPU": 20, "MemoryMB": memory}}],
        }],
    }});
    scene.nomad.call(Method::POST, "/v1/jobs", Some(job)).await.unwrap();
    let is_over = |all: &Value| all[0]["TaskStates"]["t"]["State"] == "dead";
    let all = scene.until("the task is over", "/v1/job/once/allocations", is_over).await;
    all[0].clone()
}

#[tokio::test]
async fn an_images_folder_is_the_root_of_its_task_and_stays_as_it_was() {
    let images = Folder::new("images").unwrap();
    let tree = images.path().join("local/box:1");
    if !image("tree", &tree, &[Path::new("/bin/sh")]) {
        return;
    }
    let options =
        NomadOptions { images: Some(images.path().to_owned()), ..NomadOptions::default() };
    let Some(scene) = Scene::with("tree", options).await else { return };
    if !scene.nomad.is_stand_in() {
        return skip("tree", "dockerd", "a real Nomad needs Docker for it");
    }
    let script = "echo $NOMAD_TASK_DIR $NOMAD_SECRETS_DIR $NOMAD_ALLOC_DIR; echo /*; echo kept > /local/file";
    let config = json!({"image": "local/box:1", "command": "/bin/sh", "args": ["-c", script]});
    let own = run(&scene, "docker", config, 64).await;
    assert_eq!(own["ClientStatus"], "complete", "{own:#}");
    let id = own["ID"].as_str().unwrap();
    let path = format!("/v1/client/fs/logs/{id}?task=t&type=stdout&plain=true");
    let said = scene.nomad.send(Method::GET, &path, None).await.unwrap().text();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "/local /secrets /alloc");
    let seen: Vec<&str> = lines[1].split(' ').collect();
    assert!(["/bin", "/local", "/proc", "/tmp"].iter().all(|one| seen.contains(one)), "{seen:?}");
    assert!(!seen.contains(&"/root"), "the host's folders are not there: {seen:?}");
    assert!(!tree.join("local").exists(), "nothing is written to the image");
}

#[tokio::test]
async fn a_task_that_takes_more_memory_than_it_may_is_killed_and_says_so() {
    let Some(scene) = Scene::start("memory").await else { return };
    if !scene.nomad.is_stand_in() {
        return skip("memory", "chroot", "a real Nomad's exec does not find this machine's Python");
    }
    let python = lab::parts::real_part("python3").unwrap();
    let script = "import time; taken = bytearray(96 << 20); time.sleep(60)";
    let config = json!({"command": python, "args": ["-c", script]});
    let own = run(&scene, "exec", config, 32).await;
    assert_eq!(own["ClientStatus"], "failed", "{own:#}");
    let events = own["TaskStates"]["t"]["Events"].as_array().unwrap();
    let end = events.iter().find(|own| own["Type"] == "Terminated").unwrap();
    assert_eq!(
        (&end["DisplayMessage"], &end["Details"]["oom_killed"], &end["Details"]["exit_code"]),
        (
            &json!("Exit Code: 137, Signal: 9, Exit Message: \"OOM Killed\""),
            &json!("true"),
            &json!("137"),
        )
    );
}

#[tokio::test]
async fn exec_serves_at_the_hosts_address_and_ends_by_sigint() {
    let Some(scene) = Scene::start("exec").await else { return };
    if !scene.nomad.is_stand_in() {
        return skip("exec", "chroot", "a real Nomad's exec does not find this machine's Python");
    }
    let text = scene.web(&Web::default()).replacen("\"raw_exec\"", "\"exec\"", 1);
    let text = text.replacen("kill_signal = \"SIGTERM\"", "", 1);
    scene.run_detached(&text).await;
    scene.deployed("web", "successful").await;
    let own = scene.get("/v1/service/web").await[0].clone();
    assert_eq!(own["Address"], json!(scene.nomad.address().ip()), "{own:#}");
    scene.say(&["job", "stop", "-detach", "web"]).await;
    scene.said("app", "end").await;
    let said: Vec<String> = scene.lines().into_iter().map(|line| line.what).collect();
    assert_eq!(said, ["start", "SIGINT", "end"]);
}
