"""What is stopped when a person marks a task, without Airflow's database."""

from __future__ import annotations

import pytest
from airflow.listeners.listener import get_listener_manager
from airflow.sdk.api.datamodels._generated import TaskInstanceState

from ayatori_airflow import listener
from ayatori_airflow.listener import Left, stop, stop_what_it_left
from nomad_double import JOB, NomadDouble


def test_a_batch_of_a_marked_task_is_stopped_in_its_namespace(double: NomadDouble, connection: str) -> None:
    job = double.child(JOB, "k.1")
    stop(Left(job, connection, "batch"))
    assert double.jobs[job]["Stop"] is True
    assert {one[2].get("namespace") for one in double.seen} == {"batch"}


def test_a_batch_that_is_over_stays_as_it_is(double: NomadDouble, connection: str) -> None:
    job = double.child(JOB, "k.1")
    double.end(job)
    stop(Left(job, connection, None))
    stop(Left(f"{JOB}/dispatch-1-a", connection, None))
    assert double.calls("DELETE", JOB) == []


def test_a_batch_that_cannot_be_stopped_is_said_and_nothing_is_raised(
    double: NomadDouble, connection: str, caplog: pytest.LogCaptureFixture
) -> None:
    job = double.child(JOB, "k.1")
    double.token = "another"
    stop(Left(job, connection, None))
    stop(Left(job, "nomad_missing", None))
    told = [f"{record.message} {record.exc_info[1] if record.exc_info else ''}" for record in caplog.records]
    assert [f"Batch {job}, whose task was marked, could not be stopped" in one for one in told] == [True, True]
    assert "refused the token" in told[0]
    assert "nomad_missing" in told[1]


@pytest.mark.parametrize("state", [TaskInstanceState.RUNNING, TaskInstanceState.DEFERRED])
def test_an_end_that_is_no_mark_stops_nothing(state: TaskInstanceState) -> None:
    assert stop_what_it_left(state, object()) is None


def test_airflow_calls_the_listener() -> None:
    assert listener in get_listener_manager().pm.get_plugins()
