"""The task: dispatches a batch once, lets the triggerer wait, and ends as the batch ended.

Comes in: parameters, rendered by Airflow. Goes out: the batch's id as XCom, its logs in the task's log, an error with the
reason. A try that is repeated goes on with the batch of the one before (`dispatch`).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from ayatori_airflow.dispatch import XCOM_BATCH, Request, check
from ayatori_airflow.errors import (
    BatchError,
    BatchFailed,
    BatchLost,
    BatchOverdue,
    BatchStopped,
    BatchUnplaced,
    NomadError,
    NomadRefused,
)
from ayatori_airflow.hook import NomadHook, gone
from ayatori_airflow.logs import Limits, LogCopy, streams
from ayatori_airflow.trigger import NomadDispatchTrigger
from ayatori_airflow.watch import ERRORS, Event, Watch, watch
from ayatori_airflow.wire import PATIENCE, AsyncNomad, Nomad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

KEY = "{{ dag.dag_id }}.{{ task.task_id }}.{{ run_id }}.{{ ti.map_index }}"
# Airflow kills a task 5 s after it asked it to end.
KILL_PATIENCE = timedelta(seconds=3)
ENDS: dict[str, type[BatchError]] = {
    "failed": BatchFailed,
    "stopped": BatchStopped,
    "lost": BatchLost,
    "unplaced": BatchUnplaced,
    "overdue": BatchOverdue,
}
# Ends after which something may still run, or be placed later.
UNFINISHED = frozenset({"lost", "unplaced", "overdue"})


class NomadDispatchOperator(BaseOperator):
    """Runs a parameterized Nomad job, and ends as it ended.

    :param job: id of the parameterized job
    :param meta: its meta; numbers and booleans become text
    :param payload: up to 16 KiB for its `dispatch_payload`
    :param key: names the batch: what is dispatched with the same key runs once; default: DAG, task, run and map index
    :param nomad_conn_id: connection of type `nomad`
    :param namespace: Nomad's namespace, instead of the connection's
    :param deferrable: wait in the triggerer; otherwise in a worker's slot
    :param placement_timeout: how long a batch may wait for a host that can take it
    :param patience: how long Nomad may be away
    :param poll_interval: how long one blocking query lasts: a bound on what is noticed late, not a delay
    :param resume_delay: shortest pause of a deferred task. Airflow (3.3.2) fails a task that its triggerer resumes before
        its scheduler has read from the executor that the task's first process is over; a loaded scheduler takes seconds
    :param logs_every: copy logs while the batch runs; `None`: when it is over
    :param log_tasks: Nomad tasks whose logs are copied; `None`: main tasks, and those that failed
    :param log_limit_bytes: of each stream of each allocation
    :param log_total_bytes: of all together
    :param fail_on_lost_host: fail when a host is lost; `False`: wait for the replacement that Nomad starts
    """

    template_fields: Sequence[str] = ("job", "meta", "payload", "key", "nomad_conn_id", "namespace")
    template_fields_renderers = {"meta": "json"}  # noqa: RUF012 # as BaseOperator declares it
    ui_color = "#c7e8d5"

    def __init__(
        self,
        *,
        job: str,
        meta: Mapping[str, str | float | bool] | None = None,
        payload: str | bytes | None = None,
        key: str = KEY,
        nomad_conn_id: str = NomadHook.default_conn_name,
        namespace: str | None = None,
        deferrable: bool = True,
        placement_timeout: timedelta = timedelta(minutes=10),
        patience: timedelta = PATIENCE,
        poll_interval: timedelta = timedelta(seconds=30),
        resume_delay: timedelta = timedelta(seconds=10),
        logs_every: timedelta | None = None,
        log_tasks: Sequence[str] | None = None,
        log_limit_bytes: int = Limits.stream,
        log_total_bytes: int = Limits.total,
        fail_on_lost_host: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job, self.meta, self.payload, self.key = job, meta, payload, key
        self.nomad_conn_id, self.namespace, self.deferrable = nomad_conn_id, namespace, deferrable
        self.placement_timeout, self.patience, self.poll_interval = placement_timeout, patience, poll_interval
        self.resume_delay, self.logs_every, self.log_tasks = resume_delay, logs_every, log_tasks
        self.log_limit_bytes, self.log_total_bytes = log_limit_bytes, log_total_bytes
        self.fail_on_lost_host = fail_on_lost_host
        self._hook: NomadHook | None = None
        self._request: Request | None = None
        self._batch: str | None = None

    @property
    def hook(self) -> NomadHook:
        """Made when it is needed: parsing a DAG asks for no connection."""
        if self._hook is None:
            self._hook = NomadHook(self.nomad_conn_id, self.namespace, self.patience)
        return self._hook

    def execute(self, context: Context) -> str:
        """Dispatches, or finds what an earlier try dispatched, and waits."""
        self._request = self._parse(context)
        check(self._request)
        with self.hook.get_conn() as nomad:
            self._batch = self.hook.start(nomad, self._request)
        context["ti"].xcom_push(key=XCOM_BATCH, value=self._batch)
        now = time.time()
        spec = Watch(
            job=self._batch,
            since=now,
            placement=self.placement_timeout.total_seconds(),
            overdue_at=now + self.execution_timeout.total_seconds() if self.execution_timeout else None,
            poll=self.poll_interval.total_seconds(),
            fails_when_lost=self.fail_on_lost_host,
        )
        return self._wait(spec, {})

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:  # noqa: ARG002
        """Goes on after the triggerer's wait, with what the trigger was given: `dags test` hands over nothing else."""
        return self._go_on(Event(event["status"], event["reason"]), Watch(**event["watch"]), event["offsets"])

    def on_kill(self) -> None:
        """Stops the batch, from a signal handler: with settings that are there, and in less than five seconds."""
        if self._hook is None or self._request is None:
            return
        self.log.info("The task is killed: stopping its batch")
        try:
            with Nomad(self._hook.settings, KILL_PATIENCE) as nomad:
                known = [self._batch] if self._batch else []
                # Killed between the dispatch and its answer.
                found = [] if known else self._hook.children(nomad, self._request)
                for batch in known or [child.job.id for child in found]:
                    self._hook.stop(nomad, batch)
        except NomadError:
            self.log.exception("Batch %s could not be stopped: stop it with `nomad job stop`", self._batch)

    def _parse(self, context: Context) -> Request:
        ti = context["ti"]
        payload = self.payload or b""
        origin = {
            "airflow_dag": ti.dag_id,
            "airflow_task": ti.task_id,
            "airflow_run": ti.run_id,
            "airflow_map_index": str(ti.map_index),
            "airflow_try": str(ti.try_number),
        }
        return Request(
            job=self.job,
            key=self.key,
            payload=payload.encode() if isinstance(payload, str) else payload,
            meta=parse_meta(self.meta),
            origin=origin,
            try_number=ti.try_number,
            fails_when_lost=self.fail_on_lost_host,
            base=max(0, min(getattr(ti, "max_tries", 0) - (self.retries or 0), ti.try_number - 1)),
        )

    def _wait(self, spec: Watch, offsets: dict[str, int]) -> str:
        while True:
            if self.logs_every is not None:
                spec = replace(spec, logs_at=time.time() + self.logs_every.total_seconds())
            if self.deferrable:
                self._defer(spec, offsets)
            event = asyncio.run(self._watch_here(spec))
            if event.status != "logs":
                return self._go_on(event, spec, offsets)
            self._copy_logs(spec.job, offsets, is_final=False)

    def _defer(self, spec: Watch, offsets: dict[str, int]) -> NoReturn:
        spec = replace(spec, not_before=time.time() + self.resume_delay.total_seconds())
        trigger = NomadDispatchTrigger(
            nomad_conn_id=self.nomad_conn_id,
            watch=dict(vars(spec)),
            offsets=dict(offsets),
            namespace=self.namespace,
            patience=self.patience.total_seconds(),
        )
        self.defer(trigger=trigger, method_name="execute_complete")

    async def _watch_here(self, spec: Watch) -> Event:
        async with AsyncNomad(self.hook.settings, self.patience, self.log.warning) as nomad:
            return await watch(nomad, spec, self.log.info)

    def _go_on(self, event: Event, spec: Watch, offsets: dict[str, int]) -> str:
        if event.status == "logs":
            self._copy_logs(spec.job, offsets, is_final=False)
            return self._wait(spec, offsets)
        if event.status in ERRORS:
            raise gone(spec.job) if event.status == "gone" else ERRORS[event.status](event.reason)
        leftover = self._stop(spec.job) if event.status in UNFINISHED else ""
        self._copy_logs(spec.job, offsets, is_final=True)
        if event.status == "complete":
            self.log.info("Batch %s: %s", spec.job, event.reason)
            return spec.job
        raise ENDS[event.status](f"batch {spec.job}: {event.reason}{leftover}")

    def _stop(self, batch: str) -> str:
        """What is to be added to the error when it could not be stopped."""
        try:
            with self.hook.get_conn() as nomad:
                self.hook.stop(nomad, batch)
        except NomadError as error:
            return f"; and it could not be stopped ({error}): stop it with `nomad job stop {batch}`"
        return ""

    def _copy_logs(self, batch: str, offsets: dict[str, int], *, is_final: bool) -> None:
        """Never fails the task: the batch's end is what counts."""
        limits = Limits(self.log_limit_bytes, self.log_total_bytes)
        try:
            with self.hook.get_conn() as nomad:
                copy = LogCopy(nomad, lambda line: self.log.info("%s", line), offsets, limits)
                job, allocations = self.hook.job(nomad, batch), self.hook.allocations(nomad, batch)
                copy.copy(list(streams(job, allocations, self.log_tasks)), is_final=is_final)
        except NomadError as error:
            self.log.warning("The logs of batch %s cannot be read: %s", batch, error)


def parse_meta(meta: Mapping[str, Any] | None) -> dict[str, str]:
    """Meta as Nomad takes it: text."""
    bad = [key for key, value in (meta or {}).items() if not isinstance(value, (str, int, float))]
    if bad:
        raise NomadRefused(f"the meta {', '.join(sorted(bad))} is neither text nor a number: Nomad's meta is text")
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in (meta or {}).items()}
    return dict(sorted(texts.items()))
