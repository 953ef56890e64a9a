//! What Consul holds of a service.

use http::Method;
use lab::{chain, wait};
use serde_json::{Value, json};

use crate::support::{SOON, Scene, Web};

impl Scene {
    /// The instances of a service in Consul, once they are as wanted.
    async fn held(&self, what: &str, service: &str, is: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let path = format!("/v1/health/service/{service}");
        let found = wait::until(what, SOON, async || {
            let all = self.consul.as_ref().unwrap().call(Method::GET, &path, None).await;
            let all = all.map_err(|error| chain(&error))?.as_array().cloned().unwrap_or_default();
            if is(&all) { Ok(all) } else { Err(format!("{:#}", json!(all))) }
        });
        found.await.unwrap_or_else(|error| panic!("{}\n{}", chain(&error), self.nomad.tail()))
    }
}

fn is_passing(own: &Value) -> bool {
    own["Checks"].as_array().unwrap().iter().all(|check| check["Status"] == "passing")
}

#[tokio::test]
async fn a_registration_names_its_allocation_and_its_meta_is_filled_in() {
    let Some(scene) = Scene::with_consul("registration").await else { return };
    let service = "tags = [\"v1\"]\nmeta {\nversion = \"1\"\nalloc = \"${NOMAD_ALLOC_ID}\"\nadmin = \"${NOMAD_HOST_PORT_app}\"\n}\nweights {\npassing = 7\nwarning = 1\n}";
    scene.run_detached(&scene.web(&Web { provider: "consul", service, ..Web::default() })).await;
    scene.deployed("web", "successful").await;
    let allocation = scene.running("web", 1).await.remove(0);
    let id = allocation["ID"].as_str().unwrap();
    let held = scene.held("it passes", "web", |all| all.len() == 1 && is_passing(&all[0])).await;
    let own = &held[0]["Service"];
    let port =
        scene.get(&format!("/v1/allocation/{id}")).await["AllocatedResources"]["Shared"]["Ports"]
            [0]["Value"]
            .clone();
    assert_eq!(own["ID"], format!("_nomad-task-{id}-group-web-web-app"));
    assert_eq!(own["Port"], port);
    // The instance's address is the host's that the agent was told; the node's is that of Consul's own agent.
    assert_eq!(own["Address"], json!(scene.nomad.address().ip()));
    let consul = scene.consul.as_ref().unwrap().address().ip();
    assert_eq!(held[0]["Node"]["Address"], json!(consul));
    let meta =
        json!({"version": "1", "alloc": id, "admin": port.to_string(), "external-source": "nomad"});
    assert_eq!(own["Meta"], meta);
    assert_eq!(own["Tags"], json!(["v1"]));
    assert_eq!(own["Weights"], json!({"Passing": 7, "Warning": 1}));
    for kind in ["lan_ipv4", "wan_ipv4"] {
        assert_eq!(own["TaggedAddresses"][kind]["Address"], own["Address"], "{own:#}");
    }
}

#[tokio::test]
async fn a_canary_has_the_canarys_tags_and_meta_instead_until_it_is_promoted() {
    let Some(scene) = Scene::with_consul("canary").await else { return };
    let service = "tags = [\"live\"]\ncanary_tags = [\"canary\"]\nmeta {\nalloc = \"${NOMAD_ALLOC_ID}\"\n}\ncanary_meta {\ntrack = \"canary\"\n}";
    let web = |version| Web {
        version,
        provider: "consul",
        service,
        ..Web::default().update("canary = 1\n")
    };
    scene.run_detached(&scene.web(&web("1"))).await;
    scene.deployed("web", "successful").await;
    scene.run_detached(&scene.web(&web("2"))).await;
    let is_canary = |own: &Value| own["Service"]["Tags"] == json!(["canary"]) && is_passing(own);
    let held = scene
        .held("a canary passes", "web", |all| all.len() == 2 && all.iter().any(is_canary))
        .await;
    let canary = &held.iter().find(|own| is_canary(own)).unwrap()["Service"];
    assert_eq!(canary["Meta"], json!({"track": "canary", "external-source": "nomad"}));
    let deployment = scene
        .until("the canary is healthy", "/v1/job/web/deployment", |own| {
            own["TaskGroups"]["web"]["HealthyAllocs"] == 1
        })
        .await;
    let said =
        scene.say(&["deployment", "promote", "-detach", deployment["ID"].as_str().unwrap()]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let held = scene
        .held("the promoted one is alone", "web", |all| {
            all.len() == 1 && all[0]["Service"]["Tags"] == json!(["live"])
        })
        .await;
    let promoted = &held[0]["Service"];
    assert_eq!((&promoted["ID"], &promoted["Port"]), (&canary["ID"], &canary["Port"]));
    assert!(
        promoted["Meta"]["alloc"].is_string() && promoted["Meta"].get("track").is_none(),
        "{promoted:#}"
    );
}

#[tokio::test]
async fn a_check_that_is_ignored_lets_a_deployment_succeed_and_stays_critical() {
    let Some(scene) = Scene::with_consul("on_update").await else { return };
    let ignored = Web {
        id: "ignored",
        provider: "consul",
        check: "on_update = \"ignore\"",
        // It succeeds, however long that takes.
        deadlines: Web::default().deadlines,
        ..Web::default().sick()
    };
    scene.run_detached(&scene.web(&ignored)).await;
    // Without a word, and with the word for it: a deployment waits for the check, here in vain.
    let waiting = [("waiting", ""), ("healthy", "on_update = \"require_healthy\"")];
    for (id, check) in waiting {
        let web = Web { id, provider: "consul", check, ..Web::default().sick() };
        scene.run_detached(&scene.web(&web)).await;
    }
    scene.deployed("ignored", "successful").await;
    let is_critical = |own: &Value| {
        own["Checks"].as_array().unwrap().iter().any(|check| check["Status"] == "critical")
    };
    scene
        .held("the check is critical", "ignored", |all| all.len() == 1 && is_critical(&all[0]))
        .await;
    for (id, _) in waiting {
        scene.deployed(id, "failed").await;
    }
}
