"""How a batch stands, and the reason that a person reads."""

from __future__ import annotations

from typing import Any

import pytest

from ayatori_airflow.model import Allocation, Evaluation, Job
from ayatori_airflow.verdict import Ended, Verdict, Waiting, judge


def job(status: str = "dead", **more: Any) -> dict[str, Any]:
    return {"ID": "j/dispatch-1-a", "Status": status, **more}


def event(kind: str, message: str = "", **details: str) -> dict[str, Any]:
    return {"Type": kind, "DisplayMessage": message, "Details": details}


def allocation(status: str, *events: dict[str, Any], name: str = "a", **more: Any) -> dict[str, Any]:
    tasks = {"main": {"State": "dead", "Failed": status == "failed", "Events": list(events)}}
    return {
        "ID": f"{name}0000000-0000",
        "TaskGroup": "g",
        "NodeName": "n1",
        "ClientStatus": status,
        "DesiredStatus": "run",
        "TaskStates": tasks,
        **more,
    }


def verdict(
    job: dict[str, Any],
    *allocations: dict[str, Any],
    evaluations: list[dict[str, Any]] | None = None,
    fails_when_lost: bool = True,
) -> Verdict:
    return judge(
        Job.read(job),
        Allocation.read_all(allocations),
        Evaluation.read_all(evaluations or []),
        fails_when_lost=fails_when_lost,
    )


def test_all_complete_is_success() -> None:
    both = allocation("complete", name="a"), allocation("complete", name="b")
    assert verdict(job(), *both) == Ended("complete", "2 of 2 allocations are complete")


@pytest.mark.parametrize("status", ["pending", "running", "unknown"])
def test_an_active_allocation_is_waited_for(status: str) -> None:
    assert verdict(job(), allocation(status)) == Waiting()


def test_a_job_that_is_not_dead_is_waited_for_though_its_allocation_failed() -> None:
    assert verdict(job("pending"), allocation("failed", event("Terminated", exit_code="1"))) == Waiting()


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([event("Terminated", exit_code="3", signal="0")], 'task "main" ended with exit code 3'),
        ([event("Terminated", exit_code="0", signal="9")], None),
        (
            [event("Terminated", exit_code="143", signal="15")],
            'task "main" ended with exit code 143 (signal 15)',
        ),
        (
            [event("Terminated", exit_code="137", oom_killed="true")],
            'task "main" was killed because it used more memory than it may (OOM), exit code 137',
        ),
        (
            [event("Terminated", 'Exit Code: 137, Exit Message: "OOM Killed"', exit_code="137")],
            'task "main" was killed because it used more memory than it may (OOM), exit code 137',
        ),
        (
            [event("Driver Failure", "failed to pull local/app:1"), event("Not Restarting", "Policy")],
            'task "main" could not run: Driver Failure: failed to pull local/app:1',
        ),
        (
            [event("Not Restarting", "Policy allows no restarts")],
            'task "main" failed: Policy allows no restarts',
        ),
        ([], 'task "main" failed: Nomad says no reason'),
    ],
)
def test_a_failed_allocation_says_why(events: list[dict[str, Any]], reason: str | None) -> None:
    reason = reason or 'task "main" failed: '
    assert verdict(job(), allocation("failed", *events)) == Ended("failed", f'allocation a0000000 on node "n1": {reason}')


def test_a_replaced_allocation_does_not_count() -> None:
    failed = allocation("failed", name="a", NextAllocation="b0000000-0000")
    assert verdict(job(), failed, allocation("complete", name="b")) == Ended("complete", "1 of 1 allocations are complete")


def test_a_lost_host_fails_at_once_though_a_replacement_runs() -> None:
    lost = allocation("lost", name="a", NextAllocation="b0000000-0000")
    reason = 'allocation a0000000 on node "n1" is lost: the node went away while it ran'
    assert verdict(job("running"), lost, allocation("running", name="b")) == Ended("lost", reason)


def test_a_replacement_is_waited_for_when_the_task_says_so() -> None:
    lost = allocation("lost", name="a", NextAllocation="b0000000-0000")
    replaced = lost, allocation("running", name="b")
    assert verdict(job("running"), *replaced, fails_when_lost=False) == Waiting()


def test_a_stopped_batch_is_not_a_success() -> None:
    stopped = allocation("complete", DesiredStatus="stop")
    assert verdict(job(Stop=True), stopped) == Ended(
        "stopped", "job j/dispatch-1-a was stopped while allocation a0000000 ran"
    )
    assert verdict(job(Stop=True)) == Ended("stopped", "job j/dispatch-1-a was stopped before it ran anywhere")


def test_a_batch_that_was_complete_when_it_was_stopped_is_a_success() -> None:
    assert verdict(job(Stop=True), allocation("complete")) == Ended("complete", "1 of 1 allocations are complete")


def test_an_evicted_batch_is_no_success() -> None:
    evicted = allocation("complete", DesiredStatus="evict")
    assert verdict(job(), evicted) == Ended("failed", "allocation a0000000 ended by Nomad's wish (evict), not by itself")


def test_what_keeps_a_batch_from_a_host_is_named() -> None:
    metrics = {
        "NodesEvaluated": 3,
        "ConstraintFiltered": {"${attr.kernel.name} = windows": 2},
        "DimensionExhausted": {"memory": 1},
    }
    evaluations = [{"Status": "blocked", "ModifyIndex": 2, "FailedTGAllocs": {"g": metrics}}]
    assert verdict(job("pending"), evaluations=evaluations) == Waiting(
        'group "g": 3 nodes looked at, constraint ${attr.kernel.name} = windows: 2, too little memory: 1'
    )


def test_a_batch_that_no_scheduler_saw_is_unplaced() -> None:
    assert verdict(job("pending")) == Waiting("Nomad's scheduler has not looked at it yet")


def test_a_group_without_a_host_is_told_though_another_runs() -> None:
    evaluations = [{"Status": "blocked", "FailedTGAllocs": {"h": {"NodesEvaluated": 0}}}]
    assert verdict(job("running"), allocation("running"), evaluations=evaluations) == Waiting(
        'group "h": no node is eligible in its datacenters and pool'
    )
