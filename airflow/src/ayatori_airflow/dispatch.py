"""Which batch a try of a task belongs to: in go the children that Nomad has of its key, out comes what to do. No IO.

Every dispatch carries the token `KEY.N`, which Nomad keeps with the child. N grows with each batch of a task in a DAG run:
a try that finds its batch alive, or complete, goes on with it; after a batch that failed, N + 1 is dispatched. So a crash
repeats nothing, and a retry of a failure does run again.

A cleared task is to run again whatever became of its batches. Airflow then lifts `max_tries` to the tries so far plus
`retries`, so that `max_tries - retries` is the number of tries before the clearing (`base`), and batches up to it are old.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ayatori_airflow.errors import NomadRefused
from ayatori_airflow.verdict import Waiting
from ayatori_airflow.wire import Call, job_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ayatori_airflow.errors import NomadAnswerError, NomadError
    from ayatori_airflow.model import Job
    from ayatori_airflow.verdict import Verdict

PAYLOAD_LIMIT = 16 * 1024
# Under which a task keeps the id of its batch.
XCOM_BATCH = "nomad_job_id"
# More batches of one task in one DAG run are not looked for: each is a failed try.
LOOK_BACK = 50
# Nomad answers 500 for everything; these are wrong requests (nomad/job_endpoint.go, Dispatch).
REFUSALS = ("parameterized job", "is stopped", "metadata", "meta keys", "Payload ", "job priority")
# Would end the quoted text of a filter.
FORBIDDEN_IN_KEY = frozenset('"`\\\n\r')


@dataclass(frozen=True)
class Request:
    """What a task wants to run, and how often it has tried."""

    job: str
    key: str
    payload: bytes = b""
    meta: Mapping[str, str] = field(default_factory=dict)
    # Sent where the job allows the key: it tells people in Nomad which task a batch belongs to.
    origin: Mapping[str, str] = field(default_factory=dict)
    try_number: int = 1
    base: int = 0
    fails_when_lost: bool = True

    def token(self, number: int) -> str:
        """The idempotency token of the batch with this number."""
        return f"{self.key}.{number}"

    def number(self, token: str) -> int | None:
        """The number in a token of this key."""
        key, _, number = token.rpartition(".")
        return int(number) if key == self.key and number.isdecimal() else None


@dataclass(frozen=True)
class Child:
    """A batch of the request's key."""

    number: int
    job: Job
    verdict: Verdict


@dataclass(frozen=True)
class Attach:
    """Go on with this batch."""

    child: Child


@dataclass(frozen=True)
class Dispatch:
    """Run a new one; what still runs of older ones is stopped first."""

    number: int
    stop: tuple[str, ...] = ()


def check(request: Request) -> None:
    """What can be refused without asking Nomad."""
    if len(request.payload) > PAYLOAD_LIMIT:
        raise NomadRefused(
            f"the payload for job {request.job} has {len(request.payload)} bytes, and Nomad takes {PAYLOAD_LIMIT}: "
            "put the data where the batch can fetch it, and send its address"
        )
    if not request.key or FORBIDDEN_IN_KEY & set(request.key):
        raise NomadRefused(f"the key {request.key!r} is empty or has a quote, a backslash or a line break")


def check_parent(request: Request, parent: Job) -> None:
    """All that a parameterized job does not take, at once."""
    parameters = parent.parameters
    if parameters is None:
        raise NomadRefused(f"job {request.job} is not parameterized: a batch needs a `parameterized` block")
    problems = []
    if parent.is_stopped:
        problems.append("it is stopped: run it again (`nomad job run`)")
    if missing := sorted(parameters.required - request.meta.keys() - request.origin.keys()):
        problems.append(f"it requires the meta {', '.join(missing)}")
    if unknown := sorted(request.meta.keys() - parameters.required - parameters.optional):
        problems.append(f"it does not take the meta {', '.join(unknown)}")
    if parameters.payload == "required" and not request.payload:
        problems.append("it requires a payload")
    if parameters.payload == "forbidden" and request.payload:
        problems.append("it takes no payload")
    if problems:
        raise NomadRefused(f"job {request.job} cannot be dispatched like this: " + "; ".join(problems))


def refusal(request: Request, error: NomadAnswerError) -> NomadError:
    """The error for a dispatch that Nomad answered with an error: final where the text says that the request is wrong."""
    is_final = any(text in str(error) for text in REFUSALS)
    return NomadRefused(f"Nomad does not dispatch job {request.job}: {error}") if is_final else error


def listing(request: Request, *, is_filtered: bool = True) -> Call:
    """Asks for the children of the key. A server that ignores the filter names others as well."""
    numbers = range(max(1, request.try_number - LOOK_BACK + 1), request.try_number + 1)
    wanted = " or ".join(f'DispatchIdempotencyToken == "{request.token(number)}"' for number in numbers)
    filtered = {"filter": wanted} if is_filtered else {}
    return Call("GET", "/v1/jobs", {"prefix": f"{request.job}/dispatch-", **filtered})


def dispatching(request: Request, parent: Job, number: int) -> Call:
    """Runs the batch with this number, or names the one that Nomad already has."""
    allowed = parent.parameters.required | parent.parameters.optional if parent.parameters else frozenset()
    origin = {key: value for key, value in request.origin.items() if key in allowed}
    body = {"Meta": {**origin, **request.meta}, "Payload": base64.b64encode(request.payload).decode()}
    path = job_path(request.job, "dispatch")
    return Call("POST", path, {"idempotency_token": request.token(number)}, json=body)


def first_of_each(children: Iterable[Child]) -> tuple[list[Child], list[Child]]:
    """Before Nomad 1.11.2 two dispatches at once could both win: the first counts, the others are surplus."""
    kept: dict[int, Child] = {}
    surplus = []
    for child in sorted(children, key=lambda one: (one.number, one.job.create_index, one.job.id)):
        if child.number in kept:
            surplus.append(child)
        else:
            kept[child.number] = child
    return [kept[number] for number in sorted(kept)], surplus


def decide(children: Sequence[Child], base: int) -> Attach | Dispatch:
    """What a try does about the children of its key, of which each number is there once."""
    if not children:
        return Dispatch(base + 1)
    latest = max(children, key=lambda one: one.number)
    if latest.number > base and _is_good(latest):
        return Attach(latest)
    alive = tuple(child.job.id for child in children if child.job.status != "dead")
    return Dispatch(max(latest.number, base) + 1, alive)


def _is_good(child: Child) -> bool:
    # A batch that was complete stays so when a kill of its task comes late and stops it.
    if isinstance(child.verdict, Waiting):
        return not child.job.is_stopped
    return child.verdict.end == "complete"
