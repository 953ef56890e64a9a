"""Which batch a try belongs to, decided without Nomad."""

from __future__ import annotations

import pytest

from ayatori_airflow.dispatch import (
    Attach,
    Child,
    Dispatch,
    Request,
    check,
    check_parent,
    decide,
    first_of_each,
)
from ayatori_airflow.errors import NomadRefused
from ayatori_airflow.model import Job, Parameters
from ayatori_airflow.verdict import Ended, Verdict, Waiting

RUNS, DONE, FAILED = Waiting(), Ended("complete", ""), Ended("failed", "")


def job(name: str, status: str = "dead", *, is_stopped: bool = False, created: int = 1) -> Job:
    return Job(name, status, is_stopped, "", created, None, frozenset())


def child(number: int, verdict: Verdict, *, is_stopped: bool = False) -> Child:
    status = "running" if isinstance(verdict, Waiting) else "dead"
    return Child(number, job(f"c{number}", status, is_stopped=is_stopped), verdict)


def test_the_first_try_dispatches_number_one() -> None:
    assert decide([], base=0) == Dispatch(1)


@pytest.mark.parametrize("verdict", [RUNS, DONE])
def test_a_repeated_try_goes_on_with_a_batch_that_runs_or_is_complete(verdict: Verdict) -> None:
    one = child(1, verdict)
    assert decide([one], base=0) == Attach(one)


@pytest.mark.parametrize("end", ["failed", "stopped", "lost"])
def test_after_a_batch_without_success_the_next_number_is_dispatched(end: str) -> None:
    assert decide([child(1, FAILED), child(2, Ended(end, ""))], base=0) == Dispatch(3)  # type: ignore[arg-type]


def test_a_lost_batch_whose_replacement_runs_is_stopped_first() -> None:
    lost = Child(1, job("c1", "running"), Ended("lost", ""))
    assert decide([lost], base=0) == Dispatch(2, stop=("c1",))


def test_a_batch_that_is_being_stopped_is_not_gone_on_with() -> None:
    assert decide([child(1, RUNS, is_stopped=True)], base=0) == Dispatch(2, stop=("c1",))


def test_a_batch_that_was_complete_before_it_was_stopped_is_not_run_again() -> None:
    one = child(1, DONE, is_stopped=True)
    assert decide([one], base=0) == Attach(one)


def test_a_cleared_task_runs_again_though_its_batch_was_complete() -> None:
    assert decide([child(1, DONE)], base=1) == Dispatch(2)


def test_a_cleared_task_stops_what_still_runs_of_it() -> None:
    assert decide([child(1, RUNS)], base=1) == Dispatch(2, stop=("c1",))


def test_a_crash_after_a_clearing_goes_on_with_the_new_batch() -> None:
    new = child(2, RUNS)
    assert decide([child(1, DONE), new], base=1) == Attach(new)


def test_numbers_that_nomad_has_collected_are_not_used_again_after_a_clearing() -> None:
    assert decide([], base=4) == Dispatch(5)


def test_of_two_dispatches_with_one_token_the_first_counts() -> None:
    first, second = Child(1, job("b", created=5), RUNS), Child(1, job("a", created=6), RUNS)
    assert first_of_each([second, first]) == ([first], [second])


def test_a_payload_over_16_kib_is_refused() -> None:
    check(Request("j", "k", payload=b"x" * 16384))
    with pytest.raises(NomadRefused, match="has 16385 bytes, and Nomad takes 16384"):
        check(Request("j", "k", payload=b"x" * 16385))


def test_a_key_that_could_end_a_filter_is_refused() -> None:
    with pytest.raises(NomadRefused, match="has a quote"):
        check(Request("j", 'a" or true'))


def test_all_that_a_job_does_not_take_is_told_at_once() -> None:
    parameters = Parameters("forbidden", frozenset({"day", "unit"}), frozenset())
    parent = Job("j", "running", True, "", 1, parameters, frozenset())
    with pytest.raises(NomadRefused) as told:
        check_parent(Request("j", "k", payload=b"x", meta={"dya": "1", "unit": "2"}), parent)
    assert str(told.value) == (
        "job j cannot be dispatched like this: it is stopped: run it again (`nomad job run`); "
        "it requires the meta day; it does not take the meta dya; it takes no payload"
    )


def test_a_missing_payload_is_told() -> None:
    parent = Job("j", "running", False, "", 1, Parameters("required", frozenset(), frozenset()), frozenset())
    with pytest.raises(NomadRefused, match="it requires a payload"):
        check_parent(Request("j", "k"), parent)


def test_a_job_that_is_not_parameterized_is_refused() -> None:
    with pytest.raises(NomadRefused, match="job j is not parameterized"):
        check_parent(Request("j", "k"), job("j"))


@pytest.mark.parametrize(("token", "number"), [("k.7", 7), ("k.x", None), ("kk.7", None), ("k.7.7", None), ("", None)])
def test_the_number_is_read_from_tokens_of_the_own_key(token: str, number: int | None) -> None:
    assert Request("j", "k").number(token) == number
