"""How a batch stands: in go its job, allocations and evaluations, out comes a verdict with the reason. No IO.

A job's `dead` says nothing: it is the status after success and failure alike. What counts are the allocations that no
other replaced: all complete is success.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ayatori_airflow.model import Allocation, Evaluation, Job, Task, TaskEvent

End = Literal["complete", "failed", "stopped", "lost"]

# Events that say why a task failed before it ran, or why it was not started again (nomad/structs/structs.go, TaskEvent).
CAUSES = frozenset(
    {
        "Driver Failure",
        "Failed Validation",
        "Setup Failure",
        "Failed Artifact Download",
        "Template",
        "Sibling Task Failed",
        "Task hook failed",
    }
)


@dataclass(frozen=True)
class Waiting:
    """Not over. `unplaced` says why a part of it has no host; empty where all have one."""

    unplaced: str = ""


@dataclass(frozen=True)
class Ended:
    """Over."""

    end: End
    reason: str


Verdict = Waiting | Ended


def judge(
    job: Job,
    allocations: Sequence[Allocation],
    evaluations: Sequence[Evaluation],
    *,
    fails_when_lost: bool,
) -> Verdict:
    """The verdict on a child."""
    lost = [one for one in allocations if one.client_status == "lost"]
    if lost and fails_when_lost:
        return Ended("lost", _sentences(lost))
    if job.status != "dead" or any(one.is_active for one in allocations):
        return Waiting(_why_unplaced(allocations, evaluations))
    return _end(job, [one for one in allocations if not one.replaced_by], evaluations)


def _end(job: Job, last: Sequence[Allocation], evaluations: Sequence[Evaluation]) -> Ended:
    bad = [one for one in last if one.client_status != "complete"]
    if any(one.client_status == "lost" for one in bad):
        return Ended("lost", _sentences(bad))
    if bad:
        return Ended("failed", _sentences(bad))
    cut = [one for one in last if one.desired_status != "run"]
    if cut and job.is_stopped:
        return Ended("stopped", f"job {job.id} was stopped while {_names(cut)} ran")
    if cut:
        return Ended("failed", f"{_names(cut)} ended by Nomad's wish ({cut[0].desired_status}), not by itself")
    if last:
        return Ended("complete", f"{len(last)} of {len(last)} allocations are complete")
    return _end_without_allocation(job, evaluations)


def _end_without_allocation(job: Job, evaluations: Sequence[Evaluation]) -> Ended:
    if job.is_stopped:
        return Ended("stopped", f"job {job.id} was stopped before it ran anywhere")
    said = [one.description for one in evaluations if one.status == "failed" and one.description]
    return Ended(
        "failed",
        f"job {job.id} is dead without an allocation{': ' if said else ''}{said[-1] if said else ''}",
    )


def _why_unplaced(allocations: Sequence[Allocation], evaluations: Sequence[Evaluation]) -> str:
    if not any(one.status == "blocked" for one in evaluations) and allocations:
        return ""
    failed = [one for one in evaluations if one.unplaced]
    if not failed:
        return "Nomad's scheduler has not looked at it yet"
    return "; ".join(_why_group(group, metrics) for group, metrics in sorted(failed[-1].unplaced.items()))


def _why_group(group: str, metrics: Mapping[str, Any]) -> str:
    evaluated = int(metrics.get("NodesEvaluated") or 0)
    parts = [f"{evaluated} nodes looked at" if evaluated else "no node is eligible in its datacenters and pool"]
    for what, key in (
        ("constraint", "ConstraintFiltered"),
        ("node class", "ClassFiltered"),
        ("too little", "DimensionExhausted"),
    ):
        parts += [f"{what} {name}: {count}" for name, count in sorted((metrics.get(key) or {}).items())]
    parts += [f"quota exhausted: {name}" for name in metrics.get("QuotaExhausted") or ()]
    return f'group "{group}": {", ".join(parts)}'


def _sentences(allocations: Iterable[Allocation]) -> str:
    return "; ".join(describe(one) for one in allocations)


def _names(allocations: Iterable[Allocation]) -> str:
    return ", ".join(f"allocation {one.id[:8]}" for one in allocations)


def describe(allocation: Allocation) -> str:
    """What befell an allocation, in a sentence."""
    where = f'allocation {allocation.id[:8]} on node "{allocation.node}"'
    if allocation.client_status == "lost":
        return f"{where} is lost: the node went away while it ran"
    tasks = [_why_task(task) for task in allocation.tasks if task.is_failed]
    said = "; ".join(tasks) or allocation.client_description or f"ended {allocation.client_status}"
    return f"{where}: {said}"


def _why_task(task: Task) -> str:
    name = f'task "{task.name}"'
    ends = [event for event in task.events if event.type == "Terminated"]
    if ends and _is_oom(ends[-1]):
        return f"{name} was killed because it used more memory than it may (OOM), exit code {_code(ends[-1])}"
    if ends and _code(ends[-1]) != "0":
        signal = ends[-1].details.get("signal", "0")
        return f"{name} ended with exit code {_code(ends[-1])}" + (f" (signal {signal})" if signal != "0" else "")
    causes = [event for event in task.events if event.type in CAUSES]
    if causes:
        return f"{name} could not run: {causes[-1].type}: {causes[-1].message}"
    return f"{name} failed: {task.events[-1].message if task.events else 'Nomad says no reason'}"


def _is_oom(event: TaskEvent) -> bool:
    return event.details.get("oom_killed") == "true" or "OOM Killed" in event.message


def _code(event: TaskEvent) -> str:
    return event.details.get("exit_code", "unknown")
