"""The connection to Nomad, and what a task does with it: find its batches, dispatch, look, stop. Blocks: for workers.

What to do is decided in `dispatch`; how a batch stands in `verdict`. The triggerer uses `watch`.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from ayatori_airflow.dispatch import (
    Attach,
    Child,
    Request,
    check,
    check_parent,
    decide,
    dispatching,
    first_of_each,
    listing,
    refusal,
)
from ayatori_airflow.errors import BatchGone, NomadAnswerError, NomadError, NomadNotFound, NomadRefused
from ayatori_airflow.model import Allocation, Evaluation, Job, parse
from ayatori_airflow.settings import NomadSettings
from ayatori_airflow.verdict import judge
from ayatori_airflow.wire import PATIENCE, Call, Nomad, job_path

if TYPE_CHECKING:
    from collections.abc import Sequence

STOPPED_WITHIN = timedelta(minutes=2)
STOP_POLL = 0.5


class NomadHook(BaseHook):
    """Speaks with Nomad's HTTP API by a connection of type `nomad`.

    :param nomad_conn_id: the connection
    :param namespace: Nomad's namespace, instead of the connection's
    :param patience: how long failures that may pass are borne
    """

    conn_name_attr = "nomad_conn_id"
    default_conn_name = "nomad_default"
    conn_type = "nomad"
    hook_name = "Nomad"

    def __init__(
        self,
        nomad_conn_id: str = default_conn_name,
        namespace: str | None = None,
        patience: timedelta = PATIENCE,
    ) -> None:
        super().__init__()
        self.nomad_conn_id, self.namespace, self.patience = nomad_conn_id, namespace, patience
        self._settings: NomadSettings | None = None

    @property
    def settings(self) -> NomadSettings:
        """Read once, so that a signal handler need not ask Airflow."""
        if self._settings is None:
            self._settings = with_namespace(self.get_connection(self.nomad_conn_id), self.namespace)
        return self._settings

    def get_conn(self) -> Nomad:
        """An open client; close it, or use it in a `with`."""
        return Nomad(self.settings, self.patience, self.log.warning)

    def test_connection(self) -> tuple[bool, str]:
        """For Airflow's button."""
        try:
            with Nomad(self.settings, timedelta(0)) as nomad:
                leader = nomad.call(Call("GET", "/v1/status/leader")).value
                nomad.call(Call("GET", "/v1/jobs", {"per_page": "1"}))
        except NomadError as error:
            return False, str(error)
        return (
            True,
            f"Nomad at {self.settings.address} answers (leader {leader}), and the token may list jobs",
        )

    def start(self, nomad: Nomad, request: Request) -> str:
        """The id of the request's batch: of one that is there, or of one that is dispatched now."""
        check(request)
        parent = self._parent(nomad, request)
        check_parent(request, parent)
        children, surplus = first_of_each(self.children(nomad, request))
        for child in surplus:
            self._stop_surplus(nomad, child)
        decision = decide(children, request.base)
        if isinstance(decision, Attach):
            self.log.info("Going on with batch %s (number %s)", decision.child.job.id, decision.child.number)
            return decision.child.job.id
        for old in decision.stop:
            self.log.info("Stopping batch %s, which this try replaces", old)
            self.stop(nomad, old)
            self._await_end(nomad, old)
        return self._dispatch(nomad, request, parent, decision.number)

    def _dispatch(self, nomad: Nomad, request: Request, parent: Job, number: int) -> str:
        try:
            answer = nomad.call(dispatching(request, parent, number)).value
        except NomadAnswerError as error:
            raise refusal(request, error) from error
        started = parse("the answer to a dispatch", lambda value: str(value["DispatchedJobID"]), answer)
        same = [child for child in self.children(nomad, request) if child.number == number]
        kept, surplus = first_of_each(same)
        for child in surplus:
            self._stop_surplus(nomad, child)
        batch = kept[0].job.id if kept else started
        self.log.info("Batch %s (number %s) of job %s", batch, number, request.job)
        return batch

    def children(self, nomad: Nomad, request: Request) -> list[Child]:
        """All batches of the key that Nomad still has."""
        found = []
        for job_id in self._candidates(nomad, request):
            try:
                job = self.job(nomad, job_id)
                number = request.number(job.token)
                if number is not None:
                    verdict = judge(*self.state(nomad, job), fails_when_lost=request.fails_when_lost)
                    found.append(Child(number, job, verdict))
            except NomadNotFound:
                continue  # collected while we looked
        return found

    def _candidates(self, nomad: Nomad, request: Request) -> list[str]:
        try:
            stubs = nomad.call(listing(request)).value
        except NomadAnswerError as error:
            # Filters are newer than dispatching; without one, each child is looked at.
            self.log.warning("Looking at every batch of job %s: %s", request.job, error)
            stubs = nomad.call(listing(request, is_filtered=False)).value
        return parse("the list of jobs", lambda value: [str(stub["ID"]) for stub in value], stubs)

    def job(self, nomad: Nomad, job_id: str) -> Job:
        """A job by its id."""
        return parse(f"job {job_id}", Job.read, nomad.call(Call("GET", job_path(job_id))).value)

    def state(self, nomad: Nomad, job: Job) -> tuple[Job, Sequence[Allocation], Sequence[Evaluation]]:
        """What a verdict needs."""
        evaluations = nomad.call(Call("GET", job_path(job.id, "evaluations"))).value
        return (
            job,
            self.allocations(nomad, job.id),
            parse(f"evaluations of {job.id}", Evaluation.read_all, evaluations),
        )

    def allocations(self, nomad: Nomad, job_id: str) -> Sequence[Allocation]:
        """Where a job runs or ran."""
        value = nomad.call(Call("GET", job_path(job_id, "allocations"))).value
        return parse(f"allocations of {job_id}", Allocation.read_all, value)

    def stop(self, nomad: Nomad, job_id: str) -> None:
        """Stops a batch; one that is over or gone is fine."""
        try:
            nomad.call(stopping(job_id))
        except NomadNotFound:
            self.log.info("Batch %s is gone already", job_id)

    def _stop_surplus(self, nomad: Nomad, child: Child) -> None:
        if child.job.status != "dead":
            self.log.warning("Stopping batch %s, dispatched a second time at once", child.job.id)
            self.stop(nomad, child.job.id)

    def _await_end(self, nomad: Nomad, job_id: str) -> None:
        until = time.monotonic() + STOPPED_WITHIN.total_seconds()
        while any(one.is_active for one in self.allocations(nomad, job_id)):
            if time.monotonic() > until:
                raise NomadError(
                    f"batch {job_id} was stopped and still runs after {STOPPED_WITHIN}: look at "
                    f"`nomad job status {job_id}`; the next try goes on from here"
                )
            time.sleep(STOP_POLL)

    def _parent(self, nomad: Nomad, request: Request) -> Job:
        try:
            return self.job(nomad, request.job)
        except NomadNotFound as error:
            where = f"namespace {self.settings.namespace or 'default'} at {self.settings.address}"
            raise NomadRefused(f"Nomad has no job {request.job!r} in {where}: register it first") from error


def stopping(job_id: str) -> Call:
    """Stops a job, and leaves it to be looked at until Nomad collects it."""
    return Call("DELETE", job_path(job_id))


def with_namespace(connection: Any, namespace: str | None) -> NomadSettings:
    """The connection's settings, in another namespace if one is named."""
    settings = NomadSettings.from_connection(connection)
    if not namespace:
        return settings
    return NomadSettings(**{**vars(settings), "namespace": namespace})


def gone(job_id: str) -> BatchGone:
    """The error for a batch that Nomad collected before the task saw its end."""
    return BatchGone(
        f"Nomad no longer knows batch {job_id}, so how it ended is unknown: look at what it was to produce; "
        "then clear the task to run it again, or mark it as succeeded"
    )
