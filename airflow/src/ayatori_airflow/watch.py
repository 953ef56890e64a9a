"""Waits for something to happen to a batch: in goes what to wait for, out comes one event for the task.

Runs in the triggerer for deferred tasks and in the worker for others. Holds nothing that a restart would lose: limits are
points in time, and the state is read anew. Never ends a batch: stopping is the operator's, and the user's kill.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ayatori_airflow.errors import (
    NomadAnswerError,
    NomadError,
    NomadForbidden,
    NomadNotFound,
    NomadUnreachable,
)
from ayatori_airflow.model import Allocation, Evaluation, Job, parse
from ayatori_airflow.verdict import Ended, Waiting, judge
from ayatori_airflow.wire import Call, blocking, job_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ayatori_airflow.wire import AsyncNomad

# When all allocations are over and the job not yet dead: nothing is left that a blocking query would wake for.
SETTLING = 0.5


@dataclass(frozen=True)
class Watch:
    """What to wait for. Times are seconds since the epoch, spans are seconds."""

    job: str
    since: float
    placement: float
    overdue_at: float | None = None
    logs_at: float | None = None
    poll: float = 30.0
    fails_when_lost: bool = True
    # Not before this time: Airflow fails a task that is resumed before its scheduler heard of the pause (see operator).
    not_before: float = 0.0


@dataclass(frozen=True)
class Event:
    """What happened: `status` is an end of `verdict`, a limit of `Watch`, or what is wrong with Nomad."""

    status: str
    reason: str = ""


ERRORS: dict[str, type[NomadError]] = {
    "unreachable": NomadUnreachable,
    "forbidden": NomadForbidden,
    "gone": NomadNotFound,
    "unreadable": NomadAnswerError,
}


async def watch(
    nomad: AsyncNomad,
    spec: Watch,
    tell: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> Event:
    """Until something happens; what is wrong with Nomad is an event too."""
    try:
        event = await _Watcher(nomad, spec, tell, clock).run()
    except NomadError as error:
        status = next((name for name, kind in ERRORS.items() if isinstance(error, kind)), "unreadable")
        event = Event(status, str(error))
    await asyncio.sleep(max(0.0, spec.not_before - clock()))
    return event


class _Watcher:
    def __init__(
        self,
        nomad: AsyncNomad,
        spec: Watch,
        tell: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._nomad, self._spec, self._tell, self._clock = nomad, spec, tell, clock
        self._unplaced_since: float | None = None
        self._told = ""

    async def run(self) -> Event:
        path, index = job_path(self._spec.job, "allocations"), None
        while True:
            answer = await self._nomad.call(blocking(path, index, self._time_to_wait()))
            allocations = parse("the list of allocations", Allocation.read_all, answer.value)
            if event := await self._look(allocations):
                return event
            is_settling = bool(allocations) and not any(one.is_active for one in allocations)
            # An index that went back is that of a Nomad that was set up anew.
            is_new = index is not None and answer.index < index
            index = None if is_settling or is_new else answer.index or None
            if index is None:
                await asyncio.sleep(SETTLING)

    async def _look(self, allocations: Sequence[Allocation]) -> Event | None:
        job = await self._read("the job", Job.read)
        evaluations = await self._read("the list of evaluations", Evaluation.read_all, "evaluations")
        verdict = judge(job, allocations, evaluations, fails_when_lost=self._spec.fails_when_lost)
        if isinstance(verdict, Ended):
            return Event(verdict.end, verdict.reason)
        return self._limit(verdict, allocations)

    async def _read(self, what: str, read: Callable[[Any], Any], *parts: str) -> Any:
        answer = await self._nomad.call(Call("GET", job_path(self._spec.job, *parts)))
        return parse(f"{what} {self._spec.job}", read, answer.value)

    def _limit(self, verdict: Waiting, allocations: Sequence[Allocation]) -> Event | None:
        now, spec = self._clock(), self._spec
        if not verdict.unplaced:
            self._unplaced_since = None
        elif self._unplaced_since is None:
            self._unplaced_since = now if allocations else spec.since
        self._say(verdict, allocations)
        if self._unplaced_since is not None and now >= self._unplaced_since + spec.placement:
            return Event("unplaced", f"no host for {spec.placement:.0f} s: {verdict.unplaced}")
        if spec.overdue_at is not None and now >= spec.overdue_at:
            return Event("overdue", f"still running {now - spec.since:.0f} s after its dispatch")
        if spec.logs_at is not None and now >= spec.logs_at and allocations:
            return Event("logs")
        return None

    def _say(self, verdict: Waiting, allocations: Sequence[Allocation]) -> None:
        states = ", ".join(f"{one.id[:8]} {one.client_status} on {one.node}" for one in allocations)
        said = "; ".join(part for part in (states, verdict.unplaced) if part)
        if said != self._told:
            self._told = said
            self._tell(f"{self._spec.job}: {said}")

    def _time_to_wait(self) -> float:
        """Until the next limit, at the most."""
        now, spec = self._clock(), self._spec
        limits = [now + spec.poll]
        limits += [limit for limit in (spec.overdue_at, spec.logs_at) if limit is not None]
        if self._unplaced_since is not None:
            limits.append(self._unplaced_since + spec.placement)
        return max(0.1, min(limits) - now)
