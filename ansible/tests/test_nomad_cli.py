"""How what `nomad` prints is read, and what its modules say of themselves."""

import json
import sys
from collections.abc import Sequence

import pytest
from conftest import ANSIBLE, run

sys.path.insert(0, str(ANSIBLE / "collections"))

from ansible_collections.ayatori.mesh.plugins.module_utils import nomad_cli  # noqa: E402
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import (  # noqa: E402
    Deployment,
    Group,
    Nomad,
    NomadError,
    Plan,
    Ran,
)
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_outcome import Patience, Refused  # noqa: E402
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_rollout import Rollout  # noqa: E402

TAIL = """
Job Modify Index: 41
To submit the job with version verification run:

nomad job run -check-index 41 orders.nomad.hcl

When running the job with the check-index flag, the job will only be run if the
job modify index given matches the server-side version. If the index has
changed, another user has modified the job and the plan's results are
potentially invalid.
"""
PLACED = "Scheduler dry-run:\n- All tasks successfully allocated.\n"


def test_a_plan_without_a_mark_changes_nothing():
    plan = nomad_cli.parse_plan(Ran(0, f'Job: "orders"\nTask Group: "app" (1 ignore)\n\n{PLACED}{TAIL}', ""))
    assert plan == Plan("orders", False, 'Job: "orders"\nTask Group: "app" (1 ignore)\n', 41, "")


def test_new_tags_are_a_change_although_the_exit_code_is_0():
    diff = '+/- Job: "orders"\n+/- Task Group: "app" (1 in-place update)\n  +/- Service {\n    + Tags: "v2"\n      }\n'
    plan = nomad_cli.parse_plan(Ran(0, f"{diff}\n{PLACED}{TAIL}", ""))
    assert plan == Plan("orders", True, diff, 41, "")


def test_a_plan_that_finds_no_room_says_why():
    dry_run = (
        'Scheduler dry-run:\n- WARNING: Failed to place all allocations.\n  Task Group "app" (failed to place 2 allocations):\n'
        '    * Resources exhausted on 1 nodes\n    * Dimension "memory" exhausted on 1 nodes\n'
    )
    plan = nomad_cli.parse_plan(Ran(1, f'+ Job: "orders"\n+ Task Group: "app" (2 create)\n\n{dry_run}{TAIL}', ""))
    assert (plan.changed, plan.index) == (True, 41)
    assert plan.unplaceable == (
        'Failed to place all allocations.\n  Task Group "app" (failed to place 2 allocations):\n'
        '    * Resources exhausted on 1 nodes\n    * Dimension "memory" exhausted on 1 nodes'
    )


def test_a_refused_plan_is_an_error_in_nomads_words():
    with pytest.raises(NomadError, match="plan: Error getting job struct: unknown argument"):
        nomad_cli.parse_plan(Ran(255, "", "Error getting job struct: unknown argument\n"))


def test_a_job_is_found_by_its_whole_id_only():
    raw = {"Job": {"ID": "orders-old", "Version": 3, "Type": "service"}}
    assert Nomad(lambda _: Ran(0, json.dumps(raw), "")).job("orders") is None
    found = Nomad(lambda _: Ran(0, json.dumps(raw), "")).job("orders-old")
    assert found is not None and found.version == 3
    assert Nomad(lambda _: Ran(1, "", 'No job(s) with prefix or ID "orders" found')).job("orders") is None
    with pytest.raises(NomadError, match="read job orders: Error .* 403"):
        Nomad(lambda _: Ran(1, "", "Error querying: Unexpected response code: 403 (Permission denied)")).job("orders")


def test_what_nomad_counts_does_not_make_a_version_another_job():
    old = {
        "ID": "a",
        "Version": 1,
        "Type": "service",
        "Stable": True,
        "ModifyIndex": 9,
        "SubmitTime": 1,
        "Meta": {"v": "1"},
    }
    again = {**old, "Version": 3, "Stable": False, "ModifyIndex": 30, "SubmitTime": 3}
    other = {**again, "Meta": {"v": "2"}}
    assert nomad_cli.parse_job(old).content == nomad_cli.parse_job(again).content
    assert nomad_cli.parse_job(old).content != nomad_cli.parse_job(other).content


def group(**of: object) -> Group:
    return Group(
        **{
            **dict(
                name="app",
                desired=2,
                healthy=1,
                unhealthy=0,
                canaries=1,
                placed_canaries=1,
                promoted=False,
                auto_promote=False,
            ),
            **of,
        }
    )


@pytest.mark.parametrize(
    ("groups", "waits"),
    [
        ((group(),), True),
        ((group(healthy=0),), False),
        ((group(placed_canaries=0),), False),
        ((group(promoted=True),), False),
        ((group(auto_promote=True),), False),
        ((group(canaries=0),), False),
        ((group(), group(name="b", healthy=0)), False),
    ],
)
def test_a_deployment_awaits_promotion_when_every_canary_is_healthy_and_nothing_promotes_by_itself(groups, waits):
    assert Deployment("d", 1, "running", "", groups).awaits_promotion() is waits
    assert not Deployment("d", 1, "failed", "", groups).awaits_promotion()


def test_the_events_of_an_allocation_are_told_with_their_task():
    raw = {
        "ID": "1f", "JobVersion": 2, "NodeName": "host-1", "DesiredStatus": "run", "ClientStatus": "failed",
        "TaskStates": {"main": {"Failed": True, "Events": [
            {"Type": "Started", "DisplayMessage": "Task started by client"},
            {"Type": "Terminated", "DisplayMessage": "Exit Code: 3"},
        ]}},
    }  # fmt: skip
    told = nomad_cli.parse_allocation(raw)
    assert told.failed and told.healthy is None
    assert told.events == ("main: Started: Task started by client", "main: Terminated: Exit Code: 3")


def test_the_documented_options_of_a_module_are_those_that_it_takes():
    from ansible_collections.ayatori.mesh.plugins.modules import meshctl, nomad_deploy, nomad_node

    taken = {"meshctl": meshctl.ARGUMENTS, "nomad_deploy": nomad_deploy.ARGUMENTS, "nomad_node": nomad_node.ARGUMENTS}
    documented = json.loads(run("ansible-doc", "-j", *(f"ayatori.mesh.{name}" for name in taken)).stdout)
    for name, arguments in taken.items():
        options = documented[f"ayatori.mesh.{name}"]["doc"]["options"]
        assert options.keys() == arguments.keys()
        for option, spec in arguments.items():
            for key in ("type", "choices", "default", "required", "elements"):
                assert options[option].get(key) == spec.get(key) or not (options[option].get(key) or spec.get(key)), (
                    name,
                    option,
                    key,
                )


def test_an_evaluation_says_which_group_has_no_room_and_why():
    raw = {
        "Status": "complete",
        "FailedTGAllocs": {
            "app": {"DimensionExhausted": {"memory": 2}, "ConstraintFiltered": {"${attr.kernel.name} = windows": 1}}
        },
    }
    told = nomad_cli.parse_evaluation(raw).unplaceable
    assert told == "group app: ${attr.kernel.name} = windows (1 nodes), memory (2 nodes)"


class Played:
    """A `nomad` that gives one answer to each command, by its first words."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.asked = answers, []

    def __call__(self, words: Sequence[str]) -> Ran:
        self.asked.append(" ".join(words))
        answer = self.answers.get("_".join(words[:2]))
        return Ran(1, "", f"No job(s) with prefix or ID {words[-1]!r} found") if answer is None else Ran(0, answer, "")


def test_a_job_that_is_in_another_namespace_is_not_registered_blindly():
    run = Played(job_plan=f'+/- Job: "orders"\n\n{PLACED}{TAIL}')
    nomad = Nomad(run)
    with pytest.raises(Refused, match="orders: Nomad has this job, but not in the namespace that is asked"):
        Rollout(nomad, Patience(1, lambda: 0, lambda: None)).deploy("orders.nomad.hcl", [])
    assert run.asked == ["job plan -no-color orders.nomad.hcl", "job inspect orders"]
    assert not nomad.has_changed


def test_what_nomad_took_is_a_change_though_the_rest_fails():
    run = Played(job_stop="==> stopped")
    nomad = Nomad(run)
    with pytest.raises(NomadError, match="end the deployment: No job"):
        nomad.fail("d1")
    assert not nomad.has_changed
    nomad.stop("orders")
    assert nomad.has_changed
