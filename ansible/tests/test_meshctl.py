"""How meshctl is called, and what its lines and exit codes mean to a play."""

import json
import sys

import pytest
from conftest import ANSIBLE

sys.path.insert(0, str(ANSIBLE / "collections"))

from ansible_collections.ayatori.mesh.plugins.module_utils.meshctl_events import foresee, read  # noqa: E402
from ansible_collections.ayatori.mesh.plugins.module_utils.rollout_options import Ended  # noqa: E402
from ansible_collections.ayatori.mesh.plugins.modules import meshctl  # noqa: E402


def lines(*events: dict[str, object]) -> str:
    return "".join(f"{json.dumps(event)}\n" for event in events)


def result(outcome: str, **fields: object) -> dict[str, object]:
    return {"event": "result", "outcome": outcome, "job": "orders", "message": f"orders {outcome}", **fields}


TOLD = {"event": "told", "what": "submit", "object": "orders"}
PLAN = {
    "event": "plan", "job": "orders", "changes": True,
    "diff": {"Type": "Edited", "Fields": [], "TaskGroups": [
        {"Type": "None", "Name": "other"},
        {"Type": "Edited", "Name": "app", "Fields": [
            {"Type": "Edited", "Name": "Count", "Old": "1", "New": "2"}, {"Type": "None", "Name": "Same", "Old": "1", "New": "1"},
        ]},
    ]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("rc", "events", "failed", "changed"),
    [
        (0, [TOLD, result("deployed", version=2)], False, True),
        (0, [result("unchanged", version=2)], False, False),
        (0, [PLAN, result("planned", changes=True)], False, True),
        (0, [PLAN, result("planned", changes=False)], False, False),
        (4, [TOLD, result("awaiting_promotion", version=2)], False, True),
        (4, [result("awaiting_promotion", version=2)], False, False),
        (1, [TOLD, result("reverted", version=3)], True, True),
        (1, [result("failed")], True, False),
        (5, [TOLD, result("half_way")], True, True),
    ],
)
def test_an_outcome_is_changed_when_nomad_was_told_something_and_failed_by_its_exit_code(rc, events, failed, changed):
    verdict = read(rc, lines(*events), "")
    assert (verdict.failed, verdict.changed, verdict.outcome) == (failed, changed, events[-1]["outcome"])
    assert (verdict.job, verdict.version) == ("orders", events[-1].get("version"))


def test_the_difference_is_told_in_lines_without_what_stays():
    verdict = read(0, lines(PLAN, result("planned", changes=True)), "")
    assert verdict.diff == '+/- orders\n  +/- app\n    +/- Count: "1" => "2"\n'


def test_a_failure_holds_what_happened_to_the_instances():
    evidence = {
        "event": "evidence", "instance": "1f2e3d4c-0000", "node": "host-1", "ailment": "has failed",
        "tasks": [{"name": "main", "state": "dead", "failed": True, "events": ["Terminated: Exit Code: 3"], "log": ["no database"]}],
    }  # fmt: skip
    verdict = read(1, lines(TOLD, evidence, result("reverted", version=3)), "")
    assert verdict.message == (
        "orders reverted\nAllocation 1f2e3d4c on host-1 has failed:\n"
        "  main: Terminated: Exit Code: 3\n  main wrote: no database"
    )


def test_a_refusal_before_any_event_is_told_in_meshctls_words():
    held = "orders is being deployed by alice@build-3 (process 7) since 40s ago; nothing was done"
    assert read(1, "", f"{held}\n") == Ended(True, False, "failed", "", None, held, "")


@pytest.mark.parametrize(
    ("rc", "says"), [(2, "older than these playbooks"), (3, "reachable"), (5, "a person has to look")]
)
def test_exit_codes_say_what_to_do_next(rc, says):
    assert says in read(rc, "not JSON at all\n", "error: no").message
    assert read(rc, "not JSON at all\n", "error: no").failed


def test_an_exit_code_that_nobody_knows_is_a_failure():
    assert read(101, "", "") == Ended(True, False, "failed", "", None, "exit code 101", "")


def params(**given: object) -> dict[str, object]:
    defaults = {name: spec.get("default") for name, spec in meshctl.ARGUMENTS.items()}
    return {**defaults, "nomad_url": "http://n:4646", "consul_url": "http://c:8500", **given}


def test_tokens_are_not_on_the_command_line():
    given = params(file="a.hcl", nomad_token="s3cret", consul_token="s3cret", vars={"version": "2", "hosts": ["a"]})
    words = meshctl.arguments(given, check=False)
    assert (
        words
        == (
            "deploy a.hcl -o json --nomad http://n:4646 --consul http://c:8500 --timeout 900s --strategy rolling --yes "
            '--var version=2 --var hosts=["a"]'
        ).split()
    )
    assert meshctl.environment(given) == {"NOMAD_TOKEN": "s3cret", "CONSUL_HTTP_TOKEN": "s3cret"}


def test_authorities_of_the_environment_are_those_that_meshctl_believes():
    given = {"NOMAD_CACERT": "/n.pem", "CONSUL_CACERT": "/c.pem", "MESH_API_CACERT": "/m.pem"}
    files = "--nomad-ca-file /n.pem --ca-file /c.pem --api-ca-file /m.pem".split()
    assert meshctl.authorities(given) == files
    # AWX sets the variable of a credential without an authority to nothing.
    assert meshctl.authorities({"NOMAD_CACERT": ""}) == []
    for action in ("deploy", "promote", "rollback"):
        words = meshctl.arguments(params(action=action, file="a.hcl", job="a", authorities=files), check=False)
        begin = words.index("--nomad-ca-file")
        assert words[begin : begin + 6] == files


def test_check_mode_is_a_dry_run():
    words = meshctl.arguments(params(file="a.hcl"), check=True)
    assert "--dry-run" in words and "--yes" not in words


@pytest.mark.parametrize(
    ("given", "gates"),
    [
        ({}, []),
        ({"gate": "manual"}, ["--gate", "manual"]),
        ({"gate": "manual", "wait_for_mesh": False}, ["--gate", "none,manual"]),
        ({"action": "rollback", "job": "a", "gate": "manual", "wait_for_mesh": False}, ["--gate", "none"]),
    ],
)
def test_gates_are_named_only_where_they_differ_from_the_default(given, gates):
    words = meshctl.arguments(params(**{"file": "a.hcl", **given}), check=False)
    assert [word for word in words if word == "--gate" or word == words[-1] and gates] == gates


def status(**of: object) -> str:
    return json.dumps({"job": "orders", "version": 2, "deploy": None, "deployment": {"status": "successful"}, **of})


WAITS = status(deployment={"status": "running", "needs_promotion": True}, deploy={"state": "awaiting_promotion"})


@pytest.mark.parametrize(
    ("action", "unfinished_only", "check", "seen", "outcome"),
    [
        ("promote", False, False, status(), "unchanged"),
        ("promote", False, False, WAITS, None),
        ("promote", False, True, WAITS, "planned"),
        ("rollback", False, False, status(), None),
        ("rollback", False, True, status(), "planned"),
        ("rollback", True, False, status(), "unchanged"),
        ("rollback", True, False, WAITS, None),
        ("rollback", True, False, status(deployment={"status": "failed"}), None),
    ],
)
def test_the_status_says_whether_there_is_anything_to_begin(action, unfinished_only, check, seen, outcome):
    foreseen = foresee(action, "orders", unfinished_only, check, 0, seen, "")
    assert (foreseen and foreseen.outcome) == outcome


def test_a_status_that_cannot_be_read_is_a_failure_in_its_words():
    foreseen = foresee("promote", "orders", False, False, 0, "<html>", "")
    assert foreseen is not None and foreseen.failed
    assert foreseen.message == "`meshctl status` did not answer with JSON: <html>"


def test_a_workflow_that_failed_before_its_job_was_known_has_nothing_to_take_back():
    foreseen = foresee("rollback", "", True, False, 2, "", "a value is required")
    assert foreseen is not None and (foreseen.outcome, foreseen.failed) == ("unchanged", False)
