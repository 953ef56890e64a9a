"""The operator, without Airflow's processes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from ayatori_airflow import errors
from ayatori_airflow.errors import BatchError, BatchFailed, BatchGone, BatchStopped, NomadRefused
from ayatori_airflow.operator import NomadDispatchOperator, parse_meta
from ayatori_airflow.trigger import NomadDispatchTrigger
from nomad_double import JOB, NomadDouble, wait_for


@dataclass
class TaskInstance:
    """What an operator asks of Airflow's."""

    dag_id: str = "dag"
    task_id: str = "task"
    run_id: str = "run"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    pushed: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        self.pushed[key] = value


def operator(**more: Any) -> NomadDispatchOperator:
    return NomadDispatchOperator(task_id="task", **{"job": JOB, "meta": {"day": 1}, "key": "k", **more})


def context(**more: Any) -> Any:
    return {"ti": TaskInstance(**more)}


def deferred(one: NomadDispatchOperator, context: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as told:
        one.execute(context)
    return told.value


def fired(told: TaskDeferred, status: str, reason: str) -> dict[str, Any]:
    """The event of the trigger that a task was paused with."""
    _, arguments = told.trigger.serialize()
    return {"status": status, "reason": reason, "watch": arguments["watch"], "offsets": arguments["offsets"]}


def test_it_defers_with_all_that_the_wait_needs(double: NomadDouble, connection: str) -> None:
    ctx = context()
    execution_timeout = timedelta(hours=1)
    one = operator(execution_timeout=execution_timeout, placement_timeout=timedelta(seconds=9), namespace="batch")
    told = deferred(one, ctx)
    (job,) = [name for name in double.jobs if "/" in name]
    assert ctx["ti"].pushed == {"nomad_job_id": job}
    assert isinstance(told.trigger, NomadDispatchTrigger)
    watch = told.trigger.watch
    assert (watch.job, watch.placement, watch.logs_at, watch.poll) == (job, 9.0, None, 30.0)
    assert watch.overdue_at == pytest.approx(watch.since + 3600)
    assert (told.trigger.namespace, told.trigger.patience) == ("batch", 300.0)
    # Airflow's own timeout would fail the task without asking what runs.
    assert told.timeout is None


def test_it_ends_as_the_batch_ended(double: NomadDouble, connection: str) -> None:
    one = operator()
    told = deferred(one, context())
    (job,) = [name for name in double.jobs if "/" in name]
    double.end(job)
    assert one.execute_complete(context(), fired(told, "complete", "all")) == job
    with pytest.raises(BatchFailed, match=f"batch {job}: exit code 3"):
        one.execute_complete(context(), fired(told, "failed", "exit code 3"))
    assert double.calls("DELETE", job) == []


@pytest.mark.parametrize("status", ["lost", "unplaced", "overdue"])
def test_what_may_still_run_is_stopped_before_the_task_fails(double: NomadDouble, connection: str, status: str) -> None:
    told = deferred(operator(), context())
    (job,) = [name for name in double.jobs if "/" in name]
    with pytest.raises(BatchError, match=f"batch {job}: why"):
        operator().execute_complete(context(), fired(told, status, "why"))
    assert double.jobs[job]["Stop"] is True


def test_a_batch_that_cannot_be_stopped_is_said(double: NomadDouble, connection: str) -> None:
    told = deferred(operator(), context())
    double.token = "another"
    with pytest.raises(BatchError, match=r"and it could not be stopped .*: stop it with `nomad job stop"):
        operator().execute_complete(context(), fired(told, "unplaced", "why"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [("unreachable", errors.NomadUnreachable), ("forbidden", errors.NomadForbidden), ("gone", BatchGone)],
)
def test_trouble_with_nomad_stops_nothing(double: NomadDouble, connection: str, status: str, kind: type[Exception]) -> None:
    told = deferred(operator(), context())
    with pytest.raises(kind):
        operator().execute_complete(context(), fired(told, status, "why"))
    assert not [one for one in double.seen if one[0] == "DELETE"]


def test_an_end_that_is_unknown_is_not_retried() -> None:
    assert issubclass(BatchGone, AirflowFailException)
    assert issubclass(NomadRefused, AirflowFailException)
    assert not issubclass(BatchError, AirflowFailException)


def test_logs_are_copied_while_the_batch_runs(double: NomadDouble, connection: str, capture: list[str]) -> None:
    one = operator(logs_every=timedelta(seconds=30))
    told = deferred(one, context())
    (job,) = [name for name in double.jobs if "/" in name]
    allocation = double.allocations[job][0]["ID"]
    double.logs = {(allocation, "main", "stdout"): b"one\ntw", (allocation, "main", "stderr"): b""}
    with pytest.raises(TaskDeferred) as again:
        one.execute_complete(context(), fired(told, "logs", ""))
    assert again.value.trigger.serialize()[1]["offsets"] == {f"{allocation}/main/stdout": 4, f"{allocation}/main/stderr": 0}
    assert capture[-1] == "one"
    double.logs[allocation, "main", "stdout"] += b"o\n"
    one.execute_complete(context(), fired(again.value, "complete", "all"))
    assert "two" in capture
    assert "one" not in capture[capture.index("two") - 1 :]


@pytest.fixture
def capture(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the operator logs."""
    lines: list[str] = []

    class Log:
        def info(self, text: str, *arguments: Any) -> None:
            lines.append(text % arguments)

        warning = exception = info

    monkeypatch.setattr(NomadDispatchOperator, "log", Log())
    return lines


def test_in_a_workers_slot_it_waits_itself(double: NomadDouble, connection: str) -> None:
    result: list[Any] = []
    one = operator(deferrable=False)
    thread = threading.Thread(target=lambda: result.append(one.execute(context())))
    thread.start()
    wait_for("a dispatch", lambda: any("/" in name for name in list(double.jobs)))
    (job,) = [name for name in double.jobs if "/" in name]
    double.end(job)
    thread.join(10)
    assert result == [job]


def test_a_kill_in_a_workers_slot_stops_the_batch(double: NomadDouble, connection: str) -> None:
    told: list[BaseException] = []
    one = operator(deferrable=False)

    def execute() -> None:
        try:
            one.execute(context())
        except BatchStopped as error:
            told.append(error)

    thread = threading.Thread(target=execute)
    thread.start()
    wait_for("a blocking query", lambda: any("index" in one[2] for one in list(double.seen)))
    one.on_kill()
    thread.join(10)
    assert "was stopped while allocation" in str(told[0])


def test_a_kill_before_the_batchs_id_is_known_finds_it(double: NomadDouble, connection: str) -> None:
    one = operator()
    deferred(one, context())
    (job,) = [name for name in double.jobs if "/" in name]
    one._batch = None
    one.on_kill()
    assert double.jobs[job]["Stop"] is True


def test_a_kill_before_anything_was_asked_is_nothing(connection: str) -> None:
    operator().on_kill()


@pytest.mark.parametrize(("tries", "base"), [((1, 2), 0), ((3, 2), 0), ((4, 5), 3), ((1, 1), 0)])
def test_tries_before_a_clearing_are_told_by_airflows_count(
    double: NomadDouble, connection: str, tries: tuple[int, int], base: int
) -> None:
    one = operator(retries=2)
    deferred(one, context(try_number=tries[0], max_tries=tries[1]))
    assert one._request is not None
    assert (one._request.base, one._request.try_number) == (base, tries[0])


def test_meta_becomes_text() -> None:
    assert parse_meta({"b": True, "a": 1, "c": "x", "d": 0.5}) == {
        "a": "1",
        "b": "true",
        "c": "x",
        "d": "0.5",
    }
    assert parse_meta(None) == {}
    with pytest.raises(NomadRefused, match="the meta a, b is neither text nor a number"):
        parse_meta({"b": None, "a": [1], "c": ""})


def test_nothing_is_asked_when_a_dag_is_read(double: NomadDouble) -> None:
    operator(payload="x" * 20_000)
    assert double.seen == []


def test_a_payload_over_16_kib_is_refused_before_nomad_is_asked(double: NomadDouble, connection: str) -> None:
    with pytest.raises(NomadRefused, match="has 20000 bytes, and Nomad takes 16384"):
        operator(payload="x" * 20_000).execute(context())
    assert double.seen == []
