"""Stops the batch of a task that a person ends: marks as failed, succeeded or skipped, in the UI or through the API.

Runs in Airflow's API server, which calls listeners for such marks, and gives them no state before. Whoever runs the task
is told too: the worker calls the operator's `on_kill`, the triggerer the trigger's. But there are times at which nobody runs
it: when it was paused and no triggerer has taken it up, when its pause is over and no worker has it, and when it waits for
its next try. So the batch is stopped from here, whatever the state; a batch that is stopped twice is stopped.

Nothing is stopped here when a task is cleared, as its next try stops what runs, nor when Airflow itself ends a try.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.sdk.exceptions import AirflowException

from ayatori_airflow.dispatch import XCOM_BATCH
from ayatori_airflow.errors import NomadNotFound
from ayatori_airflow.hook import stopping, with_namespace
from ayatori_airflow.model import Job, parse
from ayatori_airflow.wire import Call, Nomad, job_path

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ayatori_airflow.settings import NomadSettings

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=20)
# Nomad may be slow, and people wait for the API server: it only reads its own database.
_stops = ThreadPoolExecutor(4, thread_name_prefix="nomad-stop")


@dataclass(frozen=True)
class Left:
    """A batch that a task left, and how to reach its Nomad."""

    batch: str
    nomad_conn_id: str
    namespace: str | None


@hookimpl
def on_task_instance_failed(previous_state: Any, task_instance: Any) -> None:
    """A mark, or the end of a try."""
    stop_what_it_left(previous_state, task_instance)


@hookimpl
def on_task_instance_success(previous_state: Any, task_instance: Any) -> None:
    """A mark, or the end of a try."""
    stop_what_it_left(previous_state, task_instance)


@hookimpl
def on_task_instance_skipped(previous_state: Any, task_instance: Any) -> None:
    """A mark, or the end of a try."""
    stop_what_it_left(previous_state, task_instance)


def stop_what_it_left(previous_state: Any, task_instance: Any) -> Future[None] | None:
    """Has the batch of a task that was marked stopped, soon; nothing for other tasks, and for ends that are no marks."""
    if previous_state is not None:
        return None
    left = left_by(task_instance)
    return _stops.submit(stop, left) if left else None


def left_by(task_instance: Any) -> Left | None:
    """What the operator kept in Airflow's database: the batch in XCom, and its own rendered parameters."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields  # noqa: PLC0415 # only the API server has models
    from airflow.models.xcom import XComModel  # noqa: PLC0415
    from sqlalchemy.orm import object_session  # noqa: PLC0415

    session = object_session(task_instance)
    if session is None:
        return None
    wanted = XComModel.get_many(
        run_id=task_instance.run_id,
        key=XCOM_BATCH,
        dag_ids=task_instance.dag_id,
        task_ids=task_instance.task_id,
        map_indexes=task_instance.map_index,
        limit=1,
    )
    pushed = session.scalars(wanted).first()
    fields = RenderedTaskInstanceFields.get_templated_fields(task_instance, session=session) if pushed else None
    if pushed is None or not fields or "nomad_conn_id" not in fields:
        return None
    return Left(str(XComModel.deserialize_value(pushed)), fields["nomad_conn_id"], fields.get("namespace"))


def stop(left: Left) -> None:
    """Stops a batch that is not over; what cannot be done is in the API server's log."""
    try:
        with Nomad(_settings(left), PATIENCE, log.warning) as nomad:
            if parse(f"job {left.batch}", Job.read, nomad.call(Call("GET", job_path(left.batch))).value).status != "dead":
                nomad.call(stopping(left.batch))
                log.info("Stopped batch %s, because its task was marked", left.batch)
    except NomadNotFound:
        log.info("Batch %s, whose task was marked, is gone already", left.batch)
    except AirflowException:  # Nomad's, or no such connection
        log.exception("Batch %s, whose task was marked, could not be stopped: stop it with `nomad job stop`", left.batch)


def _settings(left: Left) -> NomadSettings:
    from airflow.models.connection import Connection  # noqa: PLC0415 # as above

    return with_namespace(Connection.get_connection_from_secrets(left.nomad_conn_id), left.namespace)
