"""The wait for a batch: what ends it, and what it bears."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ayatori_airflow.settings import NomadSettings
from ayatori_airflow.watch import Event, Watch, watch
from ayatori_airflow.wire import AsyncNomad
from nomad_double import JOB, NomadDouble, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable


class Waiting:
    """A watch that runs, and what it told."""

    def __init__(self, double: NomadDouble, patience: float = 5.0, **limits: Any) -> None:
        self.double, self.patience = double, patience
        self.spec = Watch(**{"job": "", "since": time.time(), "placement": 60.0, "poll": 20.0, **limits})
        self.told: list[str] = []

    def run(self, job: str, then: Callable[[], None] | None = None) -> Event:
        """Runs the watch; `then` once it waits."""
        return asyncio.run(asyncio.wait_for(self._run(job, then), 10))

    async def _run(self, job: str, then: Callable[[], None] | None) -> Event:
        settings = NomadSettings(f"http://127.0.0.1:{self.double.port}")
        async with AsyncNomad(settings, timedelta(seconds=self.patience)) as nomad:
            task = asyncio.ensure_future(watch(nomad, replace(self.spec, job=job), self.told.append))
            if then:
                waits = lambda: any("index" in one[2] for one in self.double.calls("GET", job))  # noqa: E731
                await asyncio.to_thread(wait_for, "a blocking query", waits)
                then()
            return await task


def test_a_batch_that_ends_wakes_the_wait(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")
    waiting = Waiting(double)
    begin = time.monotonic()
    assert waiting.run(job, lambda: double.end(job)) == Event("complete", "1 of 1 allocations are complete")
    assert time.monotonic() - begin < 5
    assert waiting.told[0] == f"{job}: {double.allocations[job][0]['ID'][:8]} running on node-1"


def test_a_failure_comes_with_its_reason(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")
    event = Waiting(double).run(job, lambda: double.end(job, 137, oom=True))
    assert event.status == "failed"
    assert "used more memory than it may (OOM), exit code 137" in event.reason


def test_a_lost_host_ends_the_wait(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")
    assert Waiting(double).run(job, lambda: double.lose(job)).status == "lost"


def test_a_batch_without_a_host_is_told_and_given_up(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1", is_placed=False)
    double.block(job, NodesEvaluated=1, DimensionExhausted={"memory": 1})
    waiting = Waiting(double, placement=0.4)
    why = 'group "g": 1 nodes looked at, too little memory: 1'
    assert waiting.run(job) == Event("unplaced", f"no host for 0 s: {why}")
    assert waiting.told == [f"{job}: {why}"]


def test_the_time_without_a_host_goes_on_over_a_restart(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1", is_placed=False)
    assert Waiting(double, placement=60.0, since=time.time() - 61).run(job).status == "unplaced"


def test_a_batch_that_gets_a_host_late_is_waited_for(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1", is_placed=False)

    def place() -> None:
        double.allocations[job] = [double.allocation()]
        double.end(job)

    # An index before the first allocation: the wait blocks on the empty list.
    assert Waiting(double).run(job, place).status == "complete"


@pytest.mark.parametrize(("limit", "status"), [("overdue_at", "overdue"), ("logs_at", "logs")])
def test_a_limit_ends_the_wait_though_nothing_happens(double: NomadDouble, limit: str, status: str) -> None:
    job = double.child(JOB, "k.1")
    begin = time.time()
    assert Waiting(double, **{limit: begin + 0.5}).run(job).status == status
    assert 0.5 <= time.time() - begin < 5


def test_nomad_may_be_away_for_less_than_the_patience(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")

    def away() -> None:
        double.faults = [(500, "No cluster leader")] * 3 + [(503, "")]
        double.end(job)

    assert Waiting(double).run(job, away).status == "complete"
    assert not double.faults


def test_nomad_away_for_longer_is_told_with_what_comes_next(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")

    def away() -> None:
        double.faults = [(500, "No cluster leader")] * 100
        double.change()

    event = Waiting(double, patience=1.0).run(job, away)
    assert event.status == "unreachable"
    assert "failed for 1 s" in event.reason
    assert event.reason.endswith("when Nomad answers again, the next try goes on with the same batch")


def test_a_nomad_that_was_set_up_anew_is_noticed(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")
    double.index = 1000

    def anew() -> None:
        double.index = 3
        double.faults = [(502, "")]
        double.change()
        double.index = 3

    # The answer with the lower index comes when the query's time is over.
    waiting = Waiting(double, poll=1.0)

    async def end_later() -> None:
        await asyncio.sleep(1.5)
        double.end(job)

    async def both() -> Event:
        ending = asyncio.ensure_future(end_later())
        event = await waiting._run(job, anew)
        await ending
        return event

    assert asyncio.run(asyncio.wait_for(both(), 10)).status == "complete"


def test_a_batch_that_nomad_collected_is_gone(double: NomadDouble) -> None:
    assert Waiting(double).run(f"{JOB}/dispatch-1-a").status == "gone"


def test_a_token_that_is_refused_later_ends_the_wait(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")
    double.token = "another"
    assert Waiting(double).run(job).status == "forbidden"


def test_an_answer_in_another_form_is_named(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")
    double.allocations[job] = [{"Id": "x"}]
    event = Waiting(double).run(job)
    assert event == Event("unreadable", "the list of allocations is not in the form that Nomad documents: KeyError('ID')")


def test_no_event_comes_before_its_time(double: NomadDouble) -> None:
    job = double.child(JOB, "k.1")
    double.end(job)
    begin = time.time()
    assert Waiting(double, not_before=begin + 0.5).run(job).status == "complete"
    assert time.time() - begin >= 0.5
