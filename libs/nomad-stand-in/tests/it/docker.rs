//! The docker driver. The stand-in's image is a folder with a shell and what it needs of this machine.

use std::path::Path;

use http::Method;
use lab::folder::Folder;
use lab::nomad::NomadOptions;
use lab::{chain, parts, wait};
use serde_json::Value;

use crate::support::{SOON, Scene, image};

/// An agent with the image `local/box:1`; `None` where it cannot be had.
async fn with_image(test: &str, images: &Path, programs: &[&Path]) -> Option<Scene> {
    if !image(test, &images.join("local/box:1"), programs) {
        return None;
    }
    let options = NomadOptions { images: Some(images.to_owned()), ..NomadOptions::default() };
    let scene = Scene::with(test, options).await?;
    if !scene.nomad.is_stand_in() {
        parts::skip(test, "dockerd", "a real Nomad needs Docker, with this image");
        return None;
    }
    Some(scene)
}

const JOB: &str = r#"
job "shell" {
  datacenters = ["dc1"]
  group "shell" {
    task "shell" {
      driver = "docker"
      config {
        image   = "local/box:1"
        command = "/bin/sh"
        args    = ["-c", "env; trap 'echo got=INT; exit' INT; trap 'echo got=TERM; exit' TERM; while :; do sleep 0.1; done"]
      }
      env {
        PATH = "/usr/bin"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
"#;

#[tokio::test]
async fn a_container_has_short_paths_and_ends_by_sigterm() {
    let images = Folder::new("images").unwrap();
    let programs = ["/bin/sh", "/usr/bin/env", "/usr/bin/sleep"].map(Path::new);
    let Some(scene) = with_image("docker", images.path(), &programs).await else { return };
    scene.run_detached(JOB).await;
    let id = scene.running("shell", 1).await[0]["ID"].as_str().unwrap().to_owned();
    let path = format!("/v1/client/fs/logs/{id}?task=shell&type=stdout&plain=true");
    let says = async |line: &str| {
        let what = format!("it says {line}");
        let found = wait::until(&what, SOON, async || {
            let answer = scene.nomad.send(Method::GET, &path, None).await;
            let text = answer.map_err(|error| chain(&error))?.text();
            if text.lines().any(|own| own == line) { Ok(()) } else { Err(text) }
        });
        found.await.unwrap_or_else(|error| panic!("{}\n{}", chain(&error), scene.nomad.tail()));
    };
    for line in ["NOMAD_TASK_DIR=/local", "NOMAD_ALLOC_DIR=/alloc", "NOMAD_SECRETS_DIR=/secrets"] {
        says(line).await;
    }
    scene.say(&["job", "stop", "-detach", "shell"]).await;
    says("got=TERM").await;
    let ended = |all: &Value| all[0]["ClientStatus"] == "complete";
    scene.until("it is complete", "/v1/job/shell/allocations", ended).await;
}
