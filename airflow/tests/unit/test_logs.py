"""Logs of batches, and that much of them costs little."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from ayatori_airflow.logs import LONGEST_LINE, Limits, Lines, LogCopy, Stream, streams
from ayatori_airflow.model import Allocation, Job
from ayatori_airflow.wire import Nomad
from nomad_double import NomadDouble

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM = Stream("a1", "n1", "main", "stdout")
KEY = ("a1", "main", "stdout")
TITLE = '--- stdout of task "main", allocation a1 on node "n1"'


@pytest.fixture
def copied(double: NomadDouble, nomad: Nomad) -> Callable[..., list[str]]:
    """Copies once and gives the lines; `offsets` stay from call to call."""
    offsets: dict[str, int] = {}

    def copy(*, is_final: bool, limits: Limits | None = None) -> list[str]:
        lines: list[str] = []
        LogCopy(nomad, lines.append, offsets, limits or Limits(), lambda _: None).copy([STREAM], is_final=is_final)
        return lines

    return copy


def test_lines_come_under_a_title_that_says_where_from(double: NomadDouble, copied: Callable[..., list[str]]) -> None:
    double.logs[KEY] = b"one\r\ntwo\n\nno end"
    assert copied(is_final=True) == [TITLE, "one", "two", "", "no end"]


def test_each_copy_brings_what_is_new_and_only_whole_lines(double: NomadDouble, copied: Callable[..., list[str]]) -> None:
    double.logs[KEY] = b"one\ntw"
    assert copied(is_final=False) == [TITLE, "one"]
    assert copied(is_final=False) == []
    double.logs[KEY] += b"o\nthree"
    assert copied(is_final=False) == [f"{TITLE}, from byte 4 on", "two"]
    assert copied(is_final=True) == [f"{TITLE}, from byte 8 on", "three"]


def test_of_a_long_log_the_beginning_and_the_end_are_copied(double: NomadDouble, copied: Callable[..., list[str]]) -> None:
    double.logs[KEY] = b"".join(b"%05d\n" % number for number in range(1000))
    lines = copied(is_final=True, limits=Limits(stream=240))
    beginning = [f"{number:05}" for number in range(30)]
    end = [f"{number:05}" for number in range(990, 1000)]
    assert lines == [
        TITLE,
        *beginning,
        '--- stdout of task "main", allocation a1 on node "n1": more than 240 bytes, the middle is left out; '
        "all of it: nomad alloc logs -task main a1",
        f"{TITLE}, its last 60 bytes",
        *end,
    ]


def test_a_log_that_just_fits_is_whole(double: NomadDouble, copied: Callable[..., list[str]]) -> None:
    double.logs[KEY] = b"".join(b"%05d\n" % number for number in range(40))
    assert copied(is_final=True, limits=Limits(stream=240)) == [
        TITLE,
        *(f"{number:05}" for number in range(40)),
    ]


def test_the_total_is_bounded_too_and_what_is_left_out_is_said(double: NomadDouble, nomad: Nomad) -> None:
    other = Stream("a2", "n1", "main", "stdout")
    double.logs = {KEY: b"one\n" * 30, ("a2", "main", "stdout"): b"two\n"}
    lines: list[str] = []
    LogCopy(nomad, lines.append, {}, Limits(total=100), lambda _: None).copy([STREAM, other], is_final=True)
    assert lines == [
        TITLE,
        *["one"] * 30,
        '--- stdout of task "main", allocation a2 on node "n1": left out, 100 bytes are copied; '
        "all of it: nomad alloc logs -task main a2",
    ]


def test_a_long_line_becomes_several() -> None:
    lines: list[str] = []
    one = Lines(lines.append, "")
    one.feed(b"x" * (2 * LONGEST_LINE + 5) + b"\n")
    assert [len(line) for line in lines] == [LONGEST_LINE, LONGEST_LINE, 5]
    assert one.consumed == 2 * LONGEST_LINE + 6


def test_bytes_that_are_no_text_are_shown_and_do_not_fail(double: NomadDouble, copied: Callable[..., list[str]]) -> None:
    double.logs[KEY] = b"\xff\xfe\n"
    assert copied(is_final=True) == [TITLE, "\ufffd\ufffd"]


def test_a_log_that_cannot_be_read_is_said(double: NomadDouble, copied: Callable[..., list[str]]) -> None:
    (line,) = copied(is_final=True)
    assert line.startswith(f"{TITLE}: cannot be read: GET /v1/client/fs/logs/a1: ")
    assert '404: failed to list entries: file "main.stdout" not found' in line


def test_a_log_that_is_empty_right_after_the_end_is_read_again(double: NomadDouble, nomad: Nomad) -> None:
    double.logs[KEY] = b""
    lines: list[str] = []

    def sleep(_: float) -> None:
        double.logs[KEY] = b"late\n"

    LogCopy(nomad, lines.append, {}, Limits(), sleep).copy([STREAM], is_final=True)
    assert lines == [TITLE, "late"]


def test_50_mb_of_logs_are_neither_fetched_nor_held(double: NomadDouble, nomad: Nomad) -> None:
    double.logs[KEY] = b"x" * 99 + b"\n"
    double.logs[KEY] *= 500_000
    count = [0]

    def emit(_: str) -> None:
        count[0] += 1

    tracemalloc.start()
    LogCopy(nomad, emit, {}, Limits(), lambda _: None).copy([STREAM], is_final=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count[0] == pytest.approx(10_485, abs=5)
    assert peak < 4_000_000


def test_logs_of_main_tasks_and_of_failed_ones_are_wanted() -> None:
    started = {"Type": "Started"}
    states = {
        "main": {"Events": [started]},
        "envoy": {"Events": [started]},
        "broken": {"Events": [started], "Failed": True},
        "never": {"Failed": True, "Events": []},
    }
    allocation = {
        "ID": "a1",
        "TaskGroup": "g",
        "ClientStatus": "failed",
        "NodeName": "n1",
        "TaskStates": states,
    }
    job = Job("j", "dead", False, "", 1, None, frozenset({("g", "main"), ("g", "never")}))
    allocations = Allocation.read_all([allocation])
    assert [one.task for one in streams(job, allocations, None)] == ["broken", "broken", "main", "main"]
    assert [str(one.key) for one in streams(job, allocations, ["envoy"])] == [
        "a1/envoy/stdout",
        "a1/envoy/stderr",
    ]
