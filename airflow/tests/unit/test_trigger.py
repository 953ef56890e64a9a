"""The trigger as the triggerer uses it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import Any

from airflow.triggers.base import TriggerEvent

from ayatori_airflow.trigger import NomadDispatchTrigger
from ayatori_airflow.watch import Watch
from nomad_double import JOB, NomadDouble


def trigger(connection: str, job: str) -> NomadDispatchTrigger:
    spec = Watch(job=job, since=time.time(), placement=60.0, overdue_at=1e10)
    return NomadDispatchTrigger(connection, asdict(spec), offsets={"a/main/stdout": 7}, namespace="batch", patience=7.0)


def run(one: NomadDispatchTrigger) -> list[TriggerEvent]:
    async def events() -> list[TriggerEvent]:
        return [event async for event in one.run()]

    return asyncio.run(events())


def test_another_is_made_from_what_is_stored(connection: str) -> None:
    one = trigger(connection, "j/dispatch-1-a")
    path, arguments = one.serialize()
    again = NomadDispatchTrigger(**arguments)
    assert path == "ayatori_airflow.trigger.NomadDispatchTrigger"
    assert again.serialize() == one.serialize()
    assert again.watch == one.watch


def test_it_fires_once_with_what_happened_in_its_namespace(double: NomadDouble, connection: str) -> None:
    job = double.child(JOB, "k.1")
    double.end(job)
    one = trigger(connection, job)
    events = run(one)
    (payload,) = (event.payload for event in events)
    assert payload == {
        "status": "complete",
        "reason": "1 of 1 allocations are complete",
        "watch": one.serialize()[1]["watch"],
        "offsets": {"a/main/stdout": 7},
    }
    assert {one[2].get("namespace") for one in double.seen} == {"batch"}


def test_a_connection_that_is_wrong_is_an_event(monkeypatch: Any) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_NOMAD_DEFAULT", '{"conn_type": "nomad"}')
    (event,) = run(trigger("nomad_default", "j"))
    assert event.payload["status"] == "unreadable"
    assert "it has no host" in event.payload["reason"]


def test_a_connection_that_is_not_there_is_an_event() -> None:
    (event,) = run(trigger("nomad_missing", "j"))
    assert (event.payload["status"], event.payload["reason"]) == (
        "unreadable",
        "The conn_id `nomad_missing` isn't defined",
    )


def test_a_kill_stops_the_batch_and_a_cleanup_does_not(double: NomadDouble, connection: str) -> None:
    job = double.child(JOB, "k.1")
    one = trigger(connection, job)
    asyncio.run(one.cleanup())
    assert double.calls("DELETE", job) == []
    asyncio.run(one.on_kill())
    assert len(double.calls("DELETE", job)) == 1
    assert double.jobs[job]["Stop"] is True


def test_a_kill_of_a_batch_that_is_gone_is_fine(double: NomadDouble, connection: str) -> None:
    asyncio.run(trigger(connection, f"{JOB}/dispatch-1-a").on_kill())
