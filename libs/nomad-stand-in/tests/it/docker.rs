//! The docker driver. The stand-in's image is a folder with a shell and what it needs of this machine.

use std::path::Path;
use std::process::Command;

use lab::nomad::NomadOptions;
use lab::{chain, parts, wait};
use serde_json::Value;

use crate::support::{SOON, Scene};

/// An agent with the image `local/shell:1`; `None` where it cannot be had.
async fn with_image(test: &str, images: &Path) -> Option<Scene> {
    if !nix::unistd::geteuid().is_root() {
        parts::skip(test, "root", "a container's root folder is mounted by root alone");
        return None;
    }
    let image = images.join("local/shell:1");
    for folder in ["bin", "tmp", "proc", "dev"] {
        std::fs::create_dir_all(image.join(folder)).unwrap();
    }
    for program in ["/bin/sh", "/usr/bin/env", "/bin/sleep"] {
        let name = Path::new(program).file_name().unwrap();
        std::fs::copy(program, image.join("bin").join(name)).unwrap();
        let shown = Command::new("ldd").arg(program).output().unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        for library in shown.split_whitespace().filter(|word| word.starts_with('/')) {
            let to = image.join(library.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(library, to).unwrap();
        }
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
        image   = "local/shell:1"
        command = "/bin/sh"
        args    = ["-c", "env; trap 'echo got=INT; exit' INT; trap 'echo got=TERM; exit' TERM; while :; do sleep 0.1; done"]
      }
      env {
        PATH = "/bin"
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
    let images = tempfile::tempdir().unwrap();
    let Some(scene) = with_image("docker", images.path()).await else { return };
    scene.run_detached(JOB).await;
    let id = scene.running("shell", 1).await[0]["ID"].as_str().unwrap().to_owned();
    let path = format!("/v1/client/fs/logs/{id}?task=shell&type=stdout&plain=true");
    let says = async |line: &str| {
        let what = format!("it says {line}");
        let found = wait::until(&what, SOON, async || {
            let answer = scene.nomad.send(http::Method::GET, &path, None).await;
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
