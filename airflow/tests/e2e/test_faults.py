"""What dies while a batch runs, and that the batch is neither lost nor run twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_lab import until
from scene import STOPPABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scene import Scene


def ends_well_and_ran_once(scene: Scene, name: str, tries: int) -> None:
    """The batch of the first try is the only one, and its end is the task's."""
    task = scene.end(name, seconds=240)
    assert (task["state"], task["try_number"]) == ("success", tries)
    assert scene.wrote(name) == ["run"]
    assert scene.tokens(name) == ["1"]
    assert "\nthrough\n" in scene.log(name, tries)


def test_nomad_away_for_a_while_is_borne(scene: Scene) -> None:
    scene.await_lines("nomad_away", ["run"])
    scene.end("nomad_away", "deferred")
    scene.way.cut()
    scene.open_gate("nomad_away")
    until("the batch ended", lambda: has_ended(scene, scene.batch("nomad_away")), 60)
    assert scene.task("nomad_away")["state"] == "deferred"
    scene.way.mend()
    ends_well_and_ran_once(scene, "nomad_away", tries=1)


def has_ended(scene: Scene, batch: str) -> bool:
    return bool(scene.nomad.client.get(f"/job/{batch.replace('/', '%2F')}").json()["Status"] == "dead")


def test_a_worker_that_is_killed_loses_and_repeats_nothing(scene: Scene) -> None:
    scene.await_lines("worker_killed", ["run"])
    kill_worker(int(scene.end("worker_killed", "running")["pid"]))
    scene.open_gate("worker_killed")
    ends_well_and_ran_once(scene, "worker_killed", tries=2)


def kill_worker(task: int) -> None:
    """The process of a task and the one that supervises it, with no chance to say anything."""
    supervisor = int(Path(f"/proc/{task}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    os.kill(task, signal.SIGKILL)


def test_a_triggerer_that_is_killed_loses_and_repeats_nothing(scene: Scene) -> None:
    scene.await_lines("triggerer_killed", ["run"])
    scene.end("triggerer_killed", "deferred")
    scene.airflow.kill("triggerer")
    scene.open_gate("triggerer_killed")
    until("the batch ended", lambda: has_ended(scene, scene.batch("triggerer_killed")), 60)
    scene.airflow.start_one("triggerer")
    ends_well_and_ran_once(scene, "triggerer_killed", tries=1)


@pytest.fixture
def no_triggerer(scene: Scene) -> Iterator[None]:
    scene.airflow.kill("triggerer")
    yield
    scene.airflow.start_one("triggerer")


@pytest.mark.usefixtures("no_triggerer")
def test_a_task_that_no_triggerer_has_taken_up_leaves_no_batch_when_a_person_ends_it(scene: Scene) -> None:
    for name in ("untaken", "untaken_cleared"):
        scene.start(name, "plain", STOPPABLE)
    for name in ("untaken", "untaken_cleared"):
        scene.await_lines(name, ["run"])
        scene.end(name, "deferred")
    scene.cancel("untaken")
    scene.await_lines("untaken", ["run", "stopped"])
    scene.clear("untaken_cleared")
    scene.await_lines("untaken_cleared", ["run", "stopped", "run"])
    assert scene.tokens("untaken_cleared") == ["1", "2"]
    scene.end("untaken_cleared", "deferred")
    scene.cancel("untaken_cleared")
    scene.await_lines("untaken_cleared", ["run", "stopped", "run", "stopped"])


def test_a_scheduler_that_is_killed_with_its_workers_loses_and_repeats_nothing(scene: Scene) -> None:
    scene.await_lines("scheduler_killed", ["run"])
    scene.end("scheduler_killed", "deferred")
    scene.start(
        "scheduler_killed_in_slot",
        "waiting",
        "echo run >>{file}; while [ ! -e {file}.go ]; do sleep 0.1; done; echo through",
    )
    scene.await_lines("scheduler_killed_in_slot", ["run"])
    scene.airflow.kill("scheduler")
    scene.open_gate("scheduler_killed")
    scene.open_gate("scheduler_killed_in_slot")
    scene.airflow.start_one("scheduler")
    ends_well_and_ran_once(scene, "scheduler_killed", tries=1)
    ends_well_and_ran_once(scene, "scheduler_killed_in_slot", tries=2)
