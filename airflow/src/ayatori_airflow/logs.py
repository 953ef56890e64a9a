"""The logs of a batch in the log of its task: in go allocations and offsets, out come lines and new offsets.

However much a batch prints, little is held and little is fetched: of each stream the beginning up to three quarters of the
limit, and the end in the last quarter; what is left out between them is said. A log that cannot be read is said too, and
never fails a task.

Offsets are those of Nomad's logs API, which counts in the files that it still has: a stream that was rotated away between
two copies is cut there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

from ayatori_airflow.errors import NomadError
from ayatori_airflow.wire import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from ayatori_airflow.model import Allocation, Job, Task
    from ayatori_airflow.wire import Nomad

LONGEST_LINE = 8 * 1024
# Right after a batch's end its log can be empty for a moment (seen on Nomad 2.0.5).
EMPTY_TRIES, EMPTY_PAUSE = 4, 0.5


@dataclass(frozen=True)
class Limits:
    """Bytes that are copied, at the most."""

    stream: int = 1024 * 1024
    total: int = 16 * 1024 * 1024

    @property
    def head(self) -> int:
        """Of a stream's beginning."""
        return self.stream - self.tail

    @property
    def tail(self) -> int:
        """Of its end."""
        return self.stream // 4


@dataclass(frozen=True)
class Stream:
    """One of a task's two outputs."""

    allocation: str
    node: str
    task: str
    kind: str

    @property
    def key(self) -> str:
        """As offsets are kept."""
        return f"{self.allocation}/{self.task}/{self.kind}"

    def __str__(self) -> str:
        """As people read it."""
        return f'{self.kind} of task "{self.task}", allocation {self.allocation[:8]} on node "{self.node}"'

    def command(self) -> str:
        """What shows all of it."""
        return f"nomad alloc logs {'-stderr ' if self.kind == 'stderr' else ''}-task {self.task} {self.allocation}"

    def call(self, offset: int, origin: str = "start") -> Call:
        """A read from an offset on."""
        params = {
            "task": self.task,
            "type": self.kind,
            "plain": "true",
            "origin": origin,
            "offset": str(offset),
        }
        return Call("GET", f"/v1/client/fs/logs/{self.allocation}", params)


def streams(job: Job, allocations: Sequence[Allocation], wanted: Collection[str] | None) -> Iterator[Stream]:
    """Those of the wanted tasks that ran; without a wish, of main tasks and of those that failed."""
    for allocation in allocations:
        for task in allocation.tasks:
            is_main = (allocation.group, task.name) in job.main_tasks
            is_wanted = task.name in wanted if wanted is not None else is_main or task.is_failed
            if is_wanted and _has_run(task):
                for kind in ("stdout", "stderr"):
                    yield Stream(allocation.id, allocation.node, task.name, kind)


def _has_run(task: Task) -> bool:
    return any(event.type == "Started" for event in task.events)


class LogCopy:
    """Copies what is new. `offsets` holds for each stream how far it is copied; it is the caller's to keep."""

    def __init__(
        self,
        nomad: Nomad,
        emit: Callable[[str], None],
        offsets: dict[str, int],
        limits: Limits,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._nomad, self._emit, self._limits, self._sleep = nomad, emit, limits, sleep
        self.offsets = offsets

    def copy(self, wanted: Sequence[Stream], *, is_final: bool) -> None:
        """All streams, once. The last time brings their ends, and lines without a line break."""
        tries = EMPTY_TRIES if is_final and wanted and not any(self.offsets.values()) else 1
        while tries:
            tries -= 1
            has_copied = [self._copy_or_say(stream, is_final) for stream in wanted]
            if any(has_copied) or not tries:
                return
            self._sleep(EMPTY_PAUSE)

    def _copy_or_say(self, stream: Stream, is_final: bool) -> bool:
        """Whether there is nothing to come back for."""
        before = self.offsets.get(stream.key, 0)
        if sum(self.offsets.values()) >= self._limits.total:
            if is_final:
                self._emit(f"--- {stream}: left out, {self._limits.total} bytes are copied; all of it: {stream.command()}")
            return True
        try:
            self._copy(stream, before, is_final)
        except (NomadError, httpx.HTTPError) as error:
            self._emit(f"--- {stream}: cannot be read: {error}")
            return True
        return self.offsets.get(stream.key, 0) > before

    def _copy(self, stream: Stream, offset: int, is_final: bool) -> None:
        room = max(0, self._limits.head - offset)
        if not room and not is_final:
            return
        lines = Lines(self._emit, f"--- {stream}" + (f", from byte {offset} on" if offset else ""))
        # The end of what is read, held back: is it the end of the stream, or does more follow?
        held = bytearray()
        for chunk in self._nomad.chunks(stream.call(offset)):
            lines.feed(chunk[:room])
            held += chunk[room:]
            room = max(0, room - len(chunk))
            if not room and (not is_final or len(held) > self._limits.tail):
                break
        if is_final and len(held) <= self._limits.tail:
            lines.feed(bytes(held))
            held.clear()
        if is_final:
            lines.end()
        if is_final and held:
            self._emit_end(stream)
        self.offsets[stream.key] = offset + lines.consumed

    def _emit_end(self, stream: Stream) -> None:
        """Says that something is left out, and what comes after it."""
        self._emit(
            f"--- {stream}: more than {self._limits.stream} bytes, the middle is left out; all of it: {stream.command()}"
        )
        lines = Lines(self._emit, f"--- {stream}, its last {self._limits.tail} bytes")
        left = self._limits.tail
        for chunk in self._nomad.chunks(stream.call(self._limits.tail, "end")):
            # It may have grown meanwhile.
            lines.feed(chunk[:left])
            left -= len(chunk)
            if left <= 0:
                break
        lines.end()


class Lines:
    """Bytes to lines. A longer line than `LONGEST_LINE` becomes several; a title comes before the first."""

    def __init__(self, emit: Callable[[str], None], title: str) -> None:
        self._emit, self._title, self._rest = emit, title, b""
        self.consumed = 0

    def feed(self, data: bytes) -> None:
        """Emits what is whole."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._line(line, 1)
        while len(self._rest) >= LONGEST_LINE:
            self._line(self._rest[:LONGEST_LINE], 0)
            self._rest = self._rest[LONGEST_LINE:]

    def end(self) -> None:
        """Emits a last line without a line break."""
        if self._rest:
            self._line(self._rest, 0)
            self._rest = b""

    def _line(self, line: bytes, breaks: int) -> None:
        if self._title:
            self._emit(self._title)
            self._title = ""
        self.consumed += len(line) + breaks
        for start in range(0, max(1, len(line)), LONGEST_LINE):
            self._emit(line[start : start + LONGEST_LINE].decode(errors="replace").rstrip("\r"))
