//! Batches by HTTP, as an Airflow operator runs them.

use http::Method;
use lab::{chain, wait};
use serde_json::{Value, json};

use crate::support::{SOON, Scene, encoded};

const PUBLISH: &str = r#"
job "publish" {
  datacenters = ["dc1"]
  type        = "batch"
  parameterized {
    payload       = "optional"
    meta_required = ["who"]
    meta_optional = ["code"]
  }
  meta {
    code = "0"
  }
  group "main" {
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "main" {
      driver = "raw_exec"
      config {
        command = "/bin/sh"
        args    = ["-c", "echo hello $NOMAD_META_who $(cat $NOMAD_TASK_DIR/input); echo oops >&2; exit $NOMAD_META_code"]
      }
      dispatch_payload {
        file = "input"
      }
      resources {
        cpu    = 20
        memory = 32
      }
    }
  }
}
"#;

impl Scene {
    async fn dispatch(&self, path: &str, body: &Value) -> (u16, String) {
        let answer = self.nomad.send(Method::POST, path, Some(body)).await.unwrap();
        (answer.status.as_u16(), answer.text())
    }

    /// A dispatched job's id, once it is dead.
    async fn finished(&self, code: &str) -> String {
        let body = json!({"Meta": {"who": "air", "code": code}, "Payload": "cGF5bG9hZA=="});
        let (status, text) = self.dispatch("/v1/job/publish/dispatch", &body).await;
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let id = answer["DispatchedJobID"].as_str().unwrap().to_owned();
        self.until("it is dead", &format!("/v1/job/{}", encoded(&id)), |own| {
            own["Status"] == "dead"
        })
        .await;
        id
    }
}

#[tokio::test]
async fn a_dispatch_names_its_job_and_its_evaluation() {
    let Some(scene) = Scene::start("dispatch").await else { return };
    scene.run_detached(PUBLISH).await;
    let body = json!({"Meta": {"who": "air"}, "Payload": "cGF5bG9hZA=="});
    let (status, text) = scene.dispatch("/v1/job/publish/dispatch", &body).await;
    assert_eq!(status, 200, "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let id = answer["DispatchedJobID"].as_str().unwrap();
    let rest = id.strip_prefix("publish/dispatch-").unwrap();
    let (seconds, hash) = rest.split_once('-').unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000 && !hash.is_empty(), "{id}");
    assert!(!answer["EvalID"].as_str().unwrap().is_empty(), "{answer}");
    for path in [format!("/v1/job/{id}"), format!("/v1/job/{}", encoded(id))] {
        let job = scene.get(&path).await;
        assert_eq!(
            (&job["ID"], &job["ParentID"], &job["Dispatched"]),
            (&json!(id), &json!("publish"), &json!(true))
        );
    }
}

#[tokio::test]
async fn the_same_idempotency_token_dispatches_once() {
    let Some(scene) = Scene::start("idempotency").await else { return };
    scene.run_detached(PUBLISH).await;
    let path = "/v1/job/publish/dispatch?idempotency_token=dag.task.1";
    let body = json!({"Meta": {"who": "air"}});
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (status, text) = scene.dispatch(path, &body).await;
        assert_eq!(status, 200, "{text}");
        ids.push(serde_json::from_str::<Value>(&text).unwrap()["DispatchedJobID"].clone());
    }
    assert_eq!(ids[0], ids[1]);
    let children = scene.get("/v1/jobs?prefix=publish%2Fdispatch").await;
    assert_eq!(children.as_array().unwrap().len(), 1, "{children:#}");
}

#[tokio::test]
async fn what_is_wrong_with_a_dispatch_is_said_in_plain_text() {
    let Some(scene) = Scene::start("bad dispatch").await else { return };
    scene.run_detached(PUBLISH).await;
    let large = "x".repeat(30_000);
    for (path, body, words) in [
        ("/v1/job/publish/dispatch", json!({}), "who"),
        ("/v1/job/publish/dispatch", json!({"Meta": {"who": "a", "nonsense": "b"}}), "nonsense"),
        (
            "/v1/job/publish/dispatch",
            json!({"Meta": {"who": "a"}, "Payload": large}),
            "exceeds maximum size",
        ),
        ("/v1/job/none/dispatch", json!({"Meta": {"who": "a"}}), "parameterized job not found"),
    ] {
        let (status, text) = scene.dispatch(path, &body).await;
        assert_eq!(status, 500, "{text}");
        assert!(text.contains(words) && !text.starts_with('{'), "{text}");
    }
    for words in [
        &["job", "dispatch", "publish"][..],
        &["job", "dispatch", "-meta", "who=a", "-meta", "nonsense=b", "publish"],
    ] {
        let said = scene.say(words).await;
        assert_eq!(said.code, 1, "{said:?}");
    }
    let said = scene.say(&["job", "dispatch", "-detach", "-meta", "who=a", "publish"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("Dispatched Job ID") && said.out.contains("publish/dispatch-"),
        "{said:?}"
    );
}

#[tokio::test]
async fn a_job_is_dead_after_success_and_failure_and_its_summary_tells_which() {
    let Some(scene) = Scene::start("outcome").await else { return };
    scene.run_detached(PUBLISH).await;
    for (code, complete, failed) in [("0", 1, 0), ("7", 0, 1)] {
        let id = scene.finished(code).await;
        let summary = scene.get(&format!("/v1/job/{}/summary", encoded(&id))).await;
        let main = &summary["Summary"]["main"];
        assert_eq!(
            (&main["Complete"], &main["Failed"]),
            (&json!(complete), &json!(failed)),
            "{summary:#}"
        );
        let all = scene.get(&format!("/v1/job/{}/allocations", encoded(&id))).await;
        let (own, task) = (&all[0], &all[0]["TaskStates"]["main"]);
        assert_eq!(own["ClientStatus"], if failed == 1 { "failed" } else { "complete" });
        assert_eq!(task["Failed"], failed == 1);
        let events = task["Events"].as_array().unwrap();
        let end = events.iter().find(|event| event["Type"] == "Terminated").unwrap();
        assert_eq!(end["Details"]["exit_code"], code, "a text: {end:#}");
    }
}

#[tokio::test]
async fn what_a_task_wrote_is_read_by_its_allocation() {
    let Some(scene) = Scene::start("logs").await else { return };
    scene.run_detached(PUBLISH).await;
    let id = scene.finished("0").await;
    let all = scene.get(&format!("/v1/job/{}/allocations", encoded(&id))).await;
    let allocation = all[0]["ID"].as_str().unwrap().to_owned();
    for (stream, wanted) in [("stdout", "hello air payload\n"), ("stderr", "oops\n")] {
        let path = format!("/v1/client/fs/logs/{allocation}?task=main&type={stream}&plain=true");
        // Right after the end it can be empty: it is read again.
        let found = wait::until("the log is whole", SOON, async || {
            let answer =
                scene.nomad.send(Method::GET, &path, None).await.map_err(|error| chain(&error))?;
            if answer.text() == wanted { Ok(()) } else { Err(answer.text()) }
        });
        found.await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    }
    let said = scene.say(&["alloc", "logs", "-stderr", &allocation]).await;
    assert_eq!((said.code, said.out.as_str()), (0, "oops\n"), "{said:?}");
}
