"""What a worker does with Nomad, over real HTTP."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ayatori_airflow.dispatch import Request
from ayatori_airflow.errors import NomadForbidden, NomadRefused, NomadUnreachable
from ayatori_airflow.hook import NomadHook
from ayatori_airflow.settings import NomadSettings
from ayatori_airflow.wire import Call, Nomad
from nomad_double import JOB, NomadDouble

if TYPE_CHECKING:
    from ayatori_airflow.hook import NomadHook as Hook


@pytest.fixture
def hook(connection: str) -> Hook:
    return NomadHook(connection)


def request(number: int = 1, base: int = 0) -> Request:
    origin = {"airflow_dag": "d", "airflow_run": "r"}
    return Request(JOB, "d.t.r.-1", b"body", {"day": "1"}, origin, try_number=number, base=base)


def test_a_batch_is_dispatched_with_its_token_meta_and_payload(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    batch = hook.start(nomad, request())
    # Of what tells the origin, only what the job takes.
    job = double.jobs[batch]
    assert job["Meta"] == {"day": "1", "airflow_dag": "d"}
    assert base64.b64decode(job["Payload"]) == b"body"
    assert job["DispatchIdempotencyToken"] == "d.t.r.-1.1"


def test_a_nomad_without_filters_is_asked_for_each_batch(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    double.knows_filters = False
    batch = hook.start(nomad, request())
    double.child(JOB, "other.1")
    assert hook.start(nomad, request(2)) == batch


@pytest.mark.parametrize("honours_filter", [True, False])
def test_a_try_after_a_crash_goes_on_with_the_batch(
    double: NomadDouble, hook: Hook, nomad: Nomad, honours_filter: bool
) -> None:
    double.honours_filter = honours_filter
    other = double.child(JOB, "other.t.r.-1.1")
    batch = hook.start(nomad, request())
    assert hook.start(nomad, request(2)) == batch != other
    assert len(double.calls("POST", "/dispatch")) == 1


def test_a_try_after_a_failure_runs_again(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    first = hook.start(nomad, request())
    double.end(first, 1)
    second = hook.start(nomad, request(2))
    assert second != first
    assert double.jobs[second]["DispatchIdempotencyToken"] == "d.t.r.-1.2"


def test_a_cleared_task_stops_the_old_batch_and_runs_again(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    first = hook.start(nomad, request())
    second = hook.start(nomad, request(2, base=1))
    assert second != first
    assert double.jobs[first]["Stop"] is True


def test_of_two_dispatches_at_once_one_is_stopped(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    double.honours_token = False
    first = double.child(JOB, "d.t.r.-1.1")
    second = double.child(JOB, "d.t.r.-1.1")
    assert hook.start(nomad, request()) == first
    assert [double.jobs[first]["Stop"], double.jobs[second]["Stop"]] == [False, True]


def test_an_unknown_job_is_refused_with_where_it_was_looked_for(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    with pytest.raises(NomadRefused) as told:
        hook.start(nomad, Request("nothing", "k"))
    where = f"http://127.0.0.1:{double.port}"
    assert str(told.value) == f"Nomad has no job 'nothing' in namespace default at {where}: register it first"


def test_what_nomad_refuses_at_the_dispatch_is_final(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    double.honours_filter = False
    call = nomad.call

    def unregister(one: Call) -> object:
        if one.method == "POST":
            del double.jobs[JOB]
        return call(one)

    nomad.call = unregister  # type: ignore[assignment,method-assign]
    with pytest.raises(NomadRefused, match="500: parameterized job not found"):
        hook.start(nomad, request())


def test_a_wrong_token_is_told_with_the_call_and_the_address(double: NomadDouble, hook: Hook, nomad: Nomad) -> None:
    double.token = "right"
    with pytest.raises(NomadForbidden) as told:
        hook.start(nomad, request())
    assert str(told.value) == (
        f"GET /v1/job/{JOB}: http://127.0.0.1:{double.port} refused the token (Permission denied): "
        "give the connection a token with the right policy"
    )


@pytest.mark.parametrize("fault", [(500, "No cluster leader"), (502, "bad gateway"), (429, ""), (500, "rpc error: EOF")])
def test_what_may_pass_is_tried_again(double: NomadDouble, hook: Hook, nomad: Nomad, fault: tuple[int, str]) -> None:
    double.faults = [fault] * 3
    assert hook.start(nomad, request()).startswith(f"{JOB}/dispatch-")


def test_patience_ends_with_the_last_failure_told() -> None:
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ayatori_airflow.wire.time.monotonic", lambda: clock[0])
        patch.setattr("ayatori_airflow.wire.Patience.__init__.__defaults__", (lambda: clock[0],))
        told_first: list[str] = []
        nomad = Nomad(NomadSettings("http://127.0.0.1:1"), timedelta(minutes=1), told_first.append, sleep=sleep)
        with nomad, pytest.raises(NomadUnreachable) as told:
            nomad.call(Call("GET", "/v1/jobs"))
    assert clock[0] == pytest.approx(60)
    assert [text.partition(": ")[0] for text in told_first] == [
        "GET /v1/jobs failed at http://127.0.0.1:1, trying again for 60 s"
    ]
    assert "GET /v1/jobs failed for 60 s at http://127.0.0.1:1: " in str(told.value)


def test_an_answer_that_is_no_json_asks_whether_it_is_nomad(double: NomadDouble, nomad: Nomad) -> None:
    double.faults = [(200, "<html>")]
    with pytest.raises(Exception, match="did not answer with JSON: is it Nomad"):
        nomad.call(Call("GET", "/v1/jobs"))


def test_the_button_tests_the_address_and_the_token(double: NomadDouble, connection: str) -> None:
    double.token = "secret"
    works, text = NomadHook(connection).test_connection()
    assert (works, text) == (
        True,
        f"Nomad at http://127.0.0.1:{double.port} answers (leader 127.0.0.1:4647), and the token may list jobs",
    )
    double.token = "another"
    works, text = NomadHook(connection).test_connection()
    assert not works
    assert "refused the token (ACL token not found)" in text
