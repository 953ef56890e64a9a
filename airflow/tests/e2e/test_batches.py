"""Batches in a real Airflow that nothing disturbs: each ends its task as it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_lab import until

if TYPE_CHECKING:
    from scene import Scene


def test_a_batch_that_is_complete_is_a_success_with_its_log(scene: Scene) -> None:
    assert scene.end("good")["state"] == "success"
    assert scene.wrote("good") == ["run"]
    log = scene.log("good")
    assert "\nsaid\n" in log
    assert "\ncomplained\n" in log
    batch = scene.batch("good")
    assert scene.airflow.xcom(*scene.runs["good"], "return_value") == batch
    (job,) = (job for job in scene.nomad.children("plain.") if job["ID"] == batch)
    assert (job["Meta"]["airflow_dag"], job["Meta"]["airflow_try"]) == ("plain", "1")


def test_a_failing_exit_code_fails_the_task_with_it(scene: Scene) -> None:
    assert scene.end("bad")["state"] == "failed"
    log = scene.log("bad")
    assert "\nbefore\n" in log
    assert 'task "main" ended with exit code 3' in log


def test_a_failure_is_run_again_by_the_next_try(scene: Scene) -> None:
    task = scene.end("second_try")
    assert (task["state"], task["try_number"]) == ("success", 2)
    assert scene.wrote("second_try") == ["run", "run"]
    assert scene.tokens("second_try") == ["1", "2"]


def test_a_batch_without_a_host_fails_the_task_and_is_not_placed_later(scene: Scene) -> None:
    assert scene.end("unplaceable")["state"] == "failed"
    log = scene.log("unplaceable")
    assert "BatchUnplaced: batch e2e-nowhere/dispatch-" in log
    assert "no host for 3 s" in log
    assert "${attr.kernel.name}" in log
    batch = scene.batch("unplaceable").replace("/", "%2F")
    assert scene.nomad.client.get(f"/job/{batch}").json()["Stop"] is True


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unknown_job", "NomadRefused: Nomad has no job 'e2e-nothing' in namespace default at http://127.0.0.1:"),
        ("no_meta", "NomadRefused: job e2e-batch cannot be dispatched like this: it requires the meta script"),
        ("too_large", "NomadRefused: the payload for job e2e-batch has 16385 bytes, and Nomad takes 16384"),
    ],
)
def test_a_wrong_request_fails_at_once_and_is_not_retried(scene: Scene, name: str, reason: str) -> None:
    task = scene.end(name)
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert reason in scene.log(name)


def test_a_wrong_token_is_told(scene: Scene) -> None:
    assert scene.end("wrong_token")["state"] == "failed"
    assert "refused the token (ACL token not found)" in scene.log("wrong_token")


def test_a_nomad_that_stays_away_is_told_after_the_patience(scene: Scene) -> None:
    assert scene.end("impatient")["state"] == "failed"
    assert "NomadUnreachable: GET /v1/job/e2e-batch failed for 2 s at http://127.0.0.1:1" in scene.log("impatient")


def test_what_is_dispatched_twice_with_one_key_runs_once(scene: Scene) -> None:
    ends = [scene.end(name)["state"] for name in ("same_key_1", "same_key_2")]
    assert ends == ["success", "success"]
    assert sorted(scene.wrote("same_key_1") + scene.wrote("same_key_2")) == ["run"]
    assert scene.batch("same_key_1") == scene.batch("same_key_2")


def test_each_of_a_mapped_tasks_instances_has_a_batch_of_its_own(scene: Scene) -> None:
    dag, run = scene.runs["mapped"]
    path = f"/dags/{dag}/dagRuns/{run}"
    until("the run ended", lambda: scene.airflow.call("GET", path)["state"] in ("success", "failed"), 180)
    instances = scene.airflow.call("GET", f"{path}/taskInstances")["task_instances"]
    assert {one["map_index"]: one["state"] for one in instances} == {0: "success", 1: "success"}
    tokens = [job["DispatchIdempotencyToken"] for job in scene.nomad.children(f"mapped.batch.{run}.")]
    assert sorted(tokens) == [f"mapped.batch.{run}.0.1", f"mapped.batch.{run}.1.1"]


def test_logs_come_while_the_batch_runs(scene: Scene) -> None:
    scene.await_lines("streamed", ["run"])

    until("the log has what was printed", lambda: "\nearly\n" in scene.log("streamed"), 180, pause=1)
    assert scene.task("streamed")["state"] not in ("success", "failed")
    scene.open_gate("streamed")
    assert scene.end("streamed")["state"] == "success"
    log = scene.log("streamed")
    assert (log.count("\nearly\n"), log.count("\nthrough\n")) == (1, 1)


def test_50_mb_of_logs_are_shown_in_part(scene: Scene) -> None:
    task = scene.end("large_log")
    assert task["state"] == "success"
    log = scene.log("large_log")
    assert "more than 1048576 bytes, the middle is left out" in log
    assert "\nthe end\n" in log
    assert len(log) < 2_000_000


def test_a_batch_that_runs_too_long_is_stopped(scene: Scene) -> None:
    assert scene.end("overdue")["state"] == "failed"
    assert "BatchOverdue: batch e2e-batch/dispatch-" in scene.log("overdue")
    scene.await_lines("overdue", ["run", "stopped"])


def test_cancelling_a_deferred_task_stops_its_batch(scene: Scene) -> None:
    scene.await_lines("cancelled", ["run"])
    scene.await_trigger("cancelled")
    scene.cancel("cancelled")
    scene.await_lines("cancelled", ["run", "stopped"])


def test_cancelling_a_task_in_its_slot_stops_its_batch(scene: Scene) -> None:
    scene.await_lines("cancelled_in_slot", ["run"])
    scene.cancel("cancelled_in_slot")
    scene.await_lines("cancelled_in_slot", ["run", "stopped"])


def test_clearing_a_deferred_task_replaces_its_batch(scene: Scene) -> None:
    scene.await_lines("cleared", ["run"])
    scene.await_trigger("cleared")
    scene.clear("cleared")
    scene.await_lines("cleared", ["run", "stopped", "run"])
    assert scene.tokens("cleared") == ["1", "2"]
    scene.await_trigger("cleared", 2)
    scene.cancel("cleared")
    scene.await_lines("cleared", ["run", "stopped", "run", "stopped"])


def test_a_cleared_task_runs_again(scene: Scene) -> None:
    scene.clear("good")
    scene.await_lines("good", ["run", "run"])
    assert scene.end("good", "success")["try_number"] == 2
    assert scene.tokens("good") == ["1", "2"]


def test_a_lack_of_memory_fails_the_task_with_it(scene: Scene) -> None:
    scene.end("oom", "deferred")
    scene.double.end(scene.batch("oom"), 137, oom=True)
    assert scene.end("oom")["state"] == "failed"
    assert "was killed because it used more memory than it may (OOM), exit code 137" in scene.log("oom")


def test_a_lost_host_fails_the_task_and_stops_the_replacement(scene: Scene) -> None:
    scene.end("lost", "deferred")
    batch = scene.batch("lost")
    scene.double.lose(batch)
    assert scene.end("lost")["state"] == "failed"
    assert 'on node "node-1" is lost: the node went away while it ran' in scene.log("lost")
    assert scene.double.jobs[batch]["Stop"] is True


def test_the_connection_has_a_form_and_a_test(scene: Scene) -> None:
    forms = scene.airflow.call("GET", f"{scene.airflow.address}/ui/connections/hook_meta")
    (form,) = (one for one in forms if one["connection_type"] == "nomad")
    assert list(form["extra_fields"]) == [
        "namespace",
        "region",
        "ca_cert",
        "client_cert",
        "client_key",
        "tls_server_name",
    ]
    body = {"connection_id": "new", "conn_type": "nomad", "host": "127.0.0.1", "port": scene.way.port}
    answer = scene.airflow.call("POST", "/connections/test", json=body)
    assert answer["status"] is True
    assert answer["message"].startswith(f"Nomad at http://127.0.0.1:{scene.way.port} answers")
