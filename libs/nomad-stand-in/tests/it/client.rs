//! What a task is told, where its files are, and what a driver does not find.

use http::Method;
use lab::folder::Folder;
use lab::http::Client;
use lab::nomad::NomadOptions;
use serde_json::{Value, json};

use crate::support::{Scene, Web};

impl Scene {
    /// The environment of a job's one application.
    pub(crate) async fn environment(&self, job: &str) -> Value {
        let id = self.running(job, 1).await[0]["ID"].as_str().unwrap().to_owned();
        let allocation = self.get(&format!("/v1/allocation/{id}")).await;
        let port = &allocation["AllocatedResources"]["Shared"]["Ports"][0];
        let address =
            format!("{}:{}", port["HostIP"].as_str().unwrap(), port["Value"]).parse().unwrap();
        Client::new().get(address, "app", "/env").await.unwrap().json().unwrap()
    }
}

#[tokio::test]
async fn in_the_hosts_network_every_port_is_the_dynamic_one_and_every_address_the_hosts() {
    let Some(scene) = Scene::start("environment").await else { return };
    let group = "meta {\nteam = \"a\"\n}";
    scene.run_detached(&scene.web(&Web { group, ..Web::default() })).await;
    scene.deployed("web", "successful").await;
    let allocation = scene.running("web", 1).await.remove(0);
    let own = scene.environment("web").await;
    let port: u16 = own["NOMAD_PORT_app"].as_str().unwrap().parse().unwrap();
    assert!((20000..32000).contains(&port), "{port}");
    for key in ["NOMAD_HOST_PORT_app", "NOMAD_ALLOC_PORT_app"] {
        assert_eq!(own[key], port.to_string(), "{key}");
    }
    let ip = own["NOMAD_IP_app"].as_str().unwrap();
    assert_eq!(own["NOMAD_ADDR_app"], format!("{ip}:{port}"));
    for (key, value) in [
        ("NOMAD_ALLOC_ID", allocation["ID"].as_str().unwrap()),
        ("NOMAD_ALLOC_INDEX", "0"),
        ("NOMAD_ALLOC_NAME", "web.web[0]"),
        ("NOMAD_JOB_ID", "web"),
        ("NOMAD_JOB_NAME", "web"),
        ("NOMAD_GROUP_NAME", "web"),
        ("NOMAD_TASK_NAME", "app"),
        ("NOMAD_DC", "dc1"),
        ("NOMAD_REGION", "global"),
        ("NOMAD_NAMESPACE", "default"),
        ("NOMAD_META_team", "a"),
    ] {
        assert_eq!(own[key], value, "{key}");
    }
    // raw_exec: long paths of the host.
    for key in ["NOMAD_TASK_DIR", "NOMAD_ALLOC_DIR", "NOMAD_SECRETS_DIR"] {
        let path = own[key].as_str().unwrap();
        assert!(path.len() > 30 && std::path::Path::new(path).is_dir(), "{key}={path}");
    }
}

#[tokio::test]
async fn a_template_says_who_an_allocation_is() {
    let Some(scene) = Scene::start("template").await else { return };
    let task = "template {\ndestination = \"local/envoy.yaml\"\nchange_mode = \"noop\"\ndata = <<T\nid: {{ env \"NOMAD_JOB_NAME\" }}-{{ env \"NOMAD_ALLOC_ID\" }}\nT\n}";
    scene.run_detached(&scene.web(&Web { task: task.to_owned(), ..Web::default() })).await;
    scene.deployed("web", "successful").await;
    let own = scene.environment("web").await;
    let file = std::path::Path::new(own["NOMAD_TASK_DIR"].as_str().unwrap()).join("envoy.yaml");
    let wanted = format!("id: web-{}\n", own["NOMAD_ALLOC_ID"].as_str().unwrap());
    assert_eq!(std::fs::read_to_string(file).unwrap(), wanted);
}

#[tokio::test]
async fn two_static_ports_that_are_the_same_are_not_placed_on_one_host() {
    let Some(scene) = Scene::start("static").await else { return };
    let port = lab::ports::reserve().unwrap();
    let text = scene.web(&Web { update: "max_parallel = 0".to_owned(), ..Web::default() });
    let text =
        text.replacen("port \"app\" {}", &format!("port \"app\" {{\nstatic = {port}\n}}"), 1);
    scene.run_detached(&text).await;
    scene.running("web", 1).await;
    let second = text.replacen("job \"web\"", "job \"second\"", 1);
    let said = scene.say(&["job", "run", &scene.file("b.nomad.hcl", &second)]).await;
    assert_eq!(said.code, 2, "{said:?}");
    let evaluations = scene.get("/v1/job/second/evaluations").await;
    assert!(
        evaluations.as_array().unwrap().iter().any(|own| own["Status"] == "blocked"),
        "{evaluations:#}"
    );
    // A place that becomes free is taken by what waits for it.
    scene.say(&["job", "stop", "-detach", "web"]).await;
    scene.running("second", 1).await;
}

#[tokio::test]
async fn an_image_that_is_not_there_fails_to_be_pulled() {
    let images = Folder::new("images").unwrap();
    let options =
        NomadOptions { images: Some(images.path().to_owned()), ..NomadOptions::default() };
    let Some(scene) = Scene::with("image", options).await else { return };
    if !scene.nomad.is_stand_in() {
        lab::parts::skip("image", "dockerd", "a real Nomad needs Docker for it");
        return;
    }
    let job = json!({"Job": {
        "ID": "docker", "Name": "docker", "Type": "batch", "Datacenters": ["dc1"],
        "TaskGroups": [{
            "Name": "g",
            "RestartPolicy": {"Attempts": 0, "Mode": "fail"},
            "ReschedulePolicy": {"Attempts": 0, "Unlimited": false},
            "Tasks": [{"Name": "t", "Driver": "docker", "Config": {"image": "local/none:1"}, "Resources": {"CPU": 20, "MemoryMB": 32}}],
        }],
    }});
    scene.nomad.call(Method::POST, "/v1/jobs", Some(job)).await.unwrap();
    let failed = |all: &Value| all[0]["TaskStates"]["t"]["Failed"] == true;
    let all = scene.until("the task fails", "/v1/job/docker/allocations", failed).await;
    let said = all[0]["TaskStates"]["t"]["Events"].to_string();
    assert!(said.contains("Failed to pull"), "{said}");
}
