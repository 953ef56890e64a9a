"""HTTP to Nomad, for workers (`Nomad`) and for the triggerer (`AsyncNomad`): in go calls, out come answers or errors.

Both are patient: what may pass (a connection that fails, a gateway's error, a cluster without leader) is tried again until
`patience` is over, and the error then says so. Everything that is sent may be sent twice: dispatches carry an
idempotency token. What an answer means is `model`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import httpx

from ayatori_airflow.errors import NomadAnswerError, NomadForbidden, NomadNotFound, NomadUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ayatori_airflow.settings import NomadSettings

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=5)
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
ANSWER_WITHIN = 10.0
# Nomad answers 500 for everything; these bodies mean that it may work later (nomad/structs/errors.go, net/rpc).
PASSING = (
    "No cluster leader",
    "No path to region",
    "leadership lost",
    "node is not the leader",
    "Not ready to serve consistent reads",
    "rpc error: EOF",
    "rpc error: connection is shut down",
    "connection refused",
    "connection reset",
    "i/o timeout",
    "failed to get conn",
)
GATEWAY = frozenset({429, 502, 503, 504})


@dataclass(frozen=True)
class Call:
    """One request. `wait` is the time in seconds that Nomad may hold it (a blocking query)."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    wait: float = 0.0

    def __str__(self) -> str:
        """As an error names it."""
        return f"{self.method} {unquote(self.path)}"


@dataclass(frozen=True)
class Answer:
    """A good answer, with the index to wait for a change after."""

    value: Any
    index: int


def job_path(job: str, *parts: str) -> str:
    """`/v1/job/ID/…`: a child's id has a slash, which must not look like a part of the path."""
    return "/".join(["/v1/job", quote(job, safe=""), *parts])


def blocking(path: str, index: int | None, wait: float) -> Call:
    """A read that Nomad answers when something changed after `index`, or after `wait` seconds."""
    if index is None:
        return Call("GET", path)
    return Call("GET", path, {"index": str(index), "wait": f"{int(wait * 1000)}ms"}, wait=wait)


class _Passing(Exception):  # not an error yet
    """A failure that may pass."""


class Patience:
    """How long failures in a row are borne, and when to try again. The first is told."""

    def __init__(
        self,
        limit: timedelta,
        address: str,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._address, self._tell, self._clock = limit.total_seconds(), address, tell, clock
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def pause(self, call: Call, error: Exception) -> float:
        """Seconds until the next try; raises when there is none."""
        now = self._clock()
        if self._since is None:
            self._since, self._pause = now, FIRST_PAUSE
            if self._limit:
                self._tell(f"{call} failed at {self._address}, trying again for {self._limit:.0f} s: {error}")
        left = self._since + self._limit - now
        if left <= 0:
            raise NomadUnreachable(
                f"{call} failed for {self._limit:.0f} s at {self._address}: {error}; "
                "when Nomad answers again, the next try goes on with the same batch"
            ) from error
        pause, self._pause = min(self._pause, left), min(self._pause * 2, LONGEST_PAUSE)
        return pause

    def calm(self) -> None:
        """A success: the next failure is the first again."""
        self._since = None


def _options(settings: NomadSettings) -> dict[str, Any]:
    headers = {"X-Nomad-Token": settings.token} if settings.token else {}
    params = {"namespace": settings.namespace, "region": settings.region}
    return {
        "base_url": settings.address,
        "headers": headers,
        "params": {key: value for key, value in params.items() if value},
        "verify": settings.tls(),
        "timeout": ANSWER_WITHIN,
        # A proxy for the outside does not know the cluster's own addresses.
        "trust_env": False,
    }


def _request(call: Call, settings: NomadSettings) -> dict[str, Any]:
    # Nomad adds up to a sixteenth to `wait`.
    read = ANSWER_WITHIN + call.wait * 17 / 16
    request: dict[str, Any] = {
        "method": call.method,
        "url": call.path,
        "params": call.params,
        "timeout": httpx.Timeout(ANSWER_WITHIN, read=read),
    }
    if call.json is not None:
        request["json"] = call.json
    if settings.tls_server_name:
        request["extensions"] = {"sni_hostname": settings.tls_server_name}
    return request


def _read(call: Call, response: httpx.Response, address: str) -> Answer:
    if response.status_code == httpx.codes.OK:
        try:
            return Answer(response.json(), int(response.headers.get("X-Nomad-Index", 0)))
        except ValueError as error:
            raise NomadAnswerError(f"{call}: {address} did not answer with JSON: is it Nomad? ({error})") from error
    raise _error(call, response.status_code, response.text.strip()[:500], address)


def _error(call: Call, status: int, text: str, address: str) -> Exception:
    if status in GATEWAY or any(passing in text for passing in PASSING):
        return _Passing(f"{status}: {text}")
    if status in (401, 403):
        return NomadForbidden(
            f"{call}: {address} refused the token ({text}): give the connection a token with the right policy"
        )
    if status == httpx.codes.NOT_FOUND:
        return NomadNotFound(f"{call}: {address} answered 404: {text}")
    return NomadAnswerError(f"{call}: {address} answered {status}: {text}")


class Nomad:
    """Nomad for a worker. Blocks."""

    def __init__(
        self,
        settings: NomadSettings,
        patience: timedelta = PATIENCE,
        tell: Callable[[str], None] = log.warning,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings, self._patience, self._tell, self._sleep = settings, patience, tell, sleep
        self._client = httpx.Client(**_options(settings))

    def __enter__(self) -> Nomad:
        """Closes with its block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connections."""
        self._client.close()

    def call(self, call: Call) -> Answer:
        """One call, patiently."""
        patience = Patience(self._patience, self.settings.address, self._tell)
        while True:
            try:
                response = self._client.request(**_request(call, self.settings))
                return _read(call, response, self.settings.address)
            except (httpx.TransportError, _Passing) as error:
                self._sleep(patience.pause(call, error))

    def stream(self, call: Call) -> AbstractContextManager[httpx.Response]:
        """A body that is read piece by piece, without patience: what it brings is a help, not a result."""
        return self._client.stream(**_request(call, self.settings))

    def chunks(self, call: Call) -> Iterator[bytes]:
        """The pieces of a body."""
        with self.stream(call) as response:
            if response.status_code != httpx.codes.OK:
                text = response.read().decode(errors="replace").strip()[:500]
                raise NomadAnswerError(f"{call}: {self.settings.address} answered {response.status_code}: {text}")
            yield from response.iter_bytes()


class AsyncNomad:
    """Nomad for the triggerer. Blocks nobody."""

    def __init__(
        self,
        settings: NomadSettings,
        patience: timedelta = PATIENCE,
        tell: Callable[[str], None] = log.warning,
    ) -> None:
        self.settings = settings
        # One for all calls: a server that answers one of three is not there.
        self._patience = Patience(patience, settings.address, tell)
        self._client = httpx.AsyncClient(**_options(settings))

    async def __aenter__(self) -> AsyncNomad:
        """Closes with its block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def call(self, call: Call) -> Answer:
        """One call, patiently."""
        while True:
            try:
                response = await self._client.request(**_request(call, self.settings))
                answer = _read(call, response, self.settings.address)
            except (httpx.TransportError, _Passing) as error:
                await asyncio.sleep(self._patience.pause(call, error))
            else:
                self._patience.calm()
                return answer
