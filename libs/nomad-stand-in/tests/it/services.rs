//! Nomad's own services.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::support::{Scene, Web, touch};

fn index(answer: &lab::http::Answer) -> u64 {
    answer.headers["x-nomad-index"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_service_is_listed_by_namespace_and_read_by_name() {
    let Some(scene) = Scene::start("services").await else { return };
    scene
        .run_detached(&scene.web(&Web {
            count: 2,
            service: "tags = [\"v1\", \"live\"]",
            ..Web::default()
        }))
        .await;
    scene.deployed("web", "successful").await;
    let mut listing = scene.get("/v1/services").await;
    let tags = listing[0]["Services"][0]["Tags"].as_array_mut().unwrap();
    // Their order is not fixed.
    tags.sort_by_key(ToString::to_string);
    let wanted = json!([{"Namespace": "default", "Services": [{"ServiceName": "web", "Tags": ["live", "v1"]}]}]);
    assert_eq!(listing, wanted);
    let all = scene.get("/v1/service/web").await;
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 2);
    for own in all {
        let allocation = own["AllocID"].as_str().unwrap();
        assert_eq!(own["ID"], format!("_nomad-task-{allocation}-group-web-web-app"));
        assert_eq!(
            (&own["JobID"], &own["Datacenter"], &own["ServiceName"]),
            (&json!("web"), &json!("dc1"), &json!("web"))
        );
        assert!(
            own["Port"].as_u64().unwrap() >= 20_000
                && own["Address"].is_string()
                && own["NodeID"].is_string()
        );
        assert!(
            own["CreateIndex"].as_u64().unwrap() > 0 && own["ModifyIndex"].as_u64().unwrap() > 0
        );
        for absent in ["Meta", "Weights", "Checks", "Status"] {
            assert!(own.get(absent).is_none(), "{own:#}");
        }
    }
    let said = scene.say(&["service", "info", "-json", "web"]).await;
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_unknown_service_has_no_instances() {
    let Some(scene) = Scene::start("unknown service").await else { return };
    let answer = scene.nomad.send(Method::GET, "/v1/service/none", None).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json().unwrap()), (200, json!([])));
    assert_eq!(answer.headers["x-nomad-knownleader"], "true");
    assert!(index(&answer) > 0);
}

#[tokio::test]
async fn an_instance_whose_check_fails_stays_listed_and_the_check_says_so() {
    let Some(scene) = Scene::start("failing check").await else { return };
    let sick = Some(scene.switch());
    scene.run_detached(&scene.web(&Web { sick, ..Web::default() })).await;
    scene.deployed("web", "successful").await;
    let allocation = scene.running("web", 1).await[0]["ID"].as_str().unwrap().to_owned();
    let path = format!("/v1/client/allocation/{allocation}/checks");
    let is = |all: &Value, status: &str| {
        all.as_object()
            .is_some_and(|all| all.len() == 1 && all.values().all(|own| own["Status"] == status))
    };
    scene.until("the check succeeds", &path, |all| is(all, "success")).await;
    touch(&scene.switch());
    scene.until("the check fails", &path, |all| is(all, "failure")).await;
    assert_eq!(scene.get("/v1/service/web").await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_blocking_query_wakes_on_a_change_and_ends_after_its_wait() {
    let Some(scene) = Scene::start("blocking").await else { return };
    scene.run_detached(&scene.web(&Web::default())).await;
    scene.deployed("web", "successful").await;
    let before = scene.nomad.send(Method::GET, "/v1/service/web", None).await.unwrap();
    // Two queries at the same time: one that a change wakes, however long the change takes, and the one that brings it.
    let wait = Duration::from_secs(10);
    let woken = async {
        let mut known = index(&before);
        loop {
            let (begin, path) = (Instant::now(), format!("/v1/service/web?index={known}&wait=10s"));
            let answer = scene.nomad.send(Method::GET, &path, None).await.unwrap();
            if index(&answer) > known {
                return (answer, begin.elapsed());
            }
            assert!(begin.elapsed() >= wait, "an answer without a change: {answer:?}");
            known = index(&answer);
        }
    };
    let scaled = async {
        let body = json!({"Count": 2, "Target": {"Job": "web", "Group": "web"}});
        scene.nomad.call(Method::POST, "/v1/job/web/scale", Some(body)).await.unwrap();
    };
    let ((answer, waited), ()) = tokio::join!(woken, scaled);
    assert!(waited < wait, "it ended by itself: {waited:?}");
    assert_eq!(answer.json().unwrap().as_array().unwrap().len(), 2);
    // An index of the future ends with its wait: before the client gives up, after 15 s.
    let begin = Instant::now();
    let path = "/v1/service/web?index=1000000&wait=2s";
    let answer = scene.nomad.send(Method::GET, path, None).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
}
