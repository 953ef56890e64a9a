"""Services deployed, promoted and taken back by playbooks, with the Nomad command line alone and with meshctl."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import SECRET, Cluster, Played, cluster, finish, until
from conftest import Need
from job_files import job_file

# What the mesh would be asked is in meshctl's own tests: these jobs are no part of one.
OPTIONS: dict[str, dict[str, Any]] = {
    "nomad": {"service_deploy_with": "nomad", "service_deploy_poll_seconds": 0.2},
    "meshctl": {"service_deploy_with": "meshctl", "service_deploy_lint": False},
}
WAYS = pytest.mark.parametrize("way", sorted(OPTIONS))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("rollouts"), Need("rollouts"), nodes=1) as found:
        yield found


def deploy(place: Cluster, way: str, file: Path, *options: str, says: str = "one", **more: Any) -> Played:
    given = {"service_deploy_file": str(file), "service_deploy_vars": {"says": says, **more.pop("vars", {})}}
    return place.play("deploy", *options, **OPTIONS[way], **given, **more)


@WAYS
def test_a_file_is_deployed_once_and_the_second_run_changes_nothing(place, way):
    job = f"{way}-once"
    file = job_file(place.folder, job)
    first = deploy(place, way, file)
    assert (first.rc, first.changed, first.result.get("outcome")) == (0, 1, "deployed"), first.told
    place.until_answers(job, {"one"})
    again = deploy(place, way, file)
    assert (again.rc, again.changed, again.result.get("outcome")) == (0, 0, "unchanged"), again.told
    assert place.version(job) == 0


@WAYS
def test_check_mode_shows_the_difference_and_changes_nothing(place, way):
    job = f"{way}-check"
    file = job_file(place.folder, job)
    place.run(file)
    looked = deploy(place, way, file, "--check", "--diff", says="two")
    assert (looked.rc, looked.changed, looked.result.get("outcome")) == (0, 1, "planned"), looked.told
    shown = looked.result["diff"]["prepared"].replace("\\", "")
    assert '"one"' in shown and '"two"' in shown
    assert place.version(job) == 0
    place.until_answers(job, {"one"})


def test_a_new_tag_alone_is_rolled_out_although_the_plan_exits_with_0(place):
    job = "nomad-tag"
    file = job_file(place.folder, job)
    place.run(file)
    tagged = deploy(place, "nomad", file, vars={"tag": "b"})
    assert (tagged.rc, tagged.changed, tagged.result.get("outcome")) == (0, 1, "deployed"), tagged.told
    assert place.version(job) == 1


@WAYS
def test_a_file_that_nomad_does_not_understand_is_refused_in_its_words(place, way):
    file = place.folder / f"{way}-bad.nomad.hcl"
    file.write_text('job "bad" {\n  group "app" {\n    cuont = 2\n  }\n}\n')
    refused = place.play("deploy", **OPTIONS[way], service_deploy_file=str(file))
    assert refused.rc == 2 and "cuont" in refused.message, refused.told


@WAYS
def test_a_failing_version_is_taken_back_and_the_message_says_why_it_failed(place, way):
    job = f"{way}-broken"
    file = job_file(place.folder, job, canary=1)
    place.run(file)
    failed = deploy(place, way, file, says="broken", vars={"patience": 4})
    assert failed.rc == 2, failed.told
    assert "Exit Code: 1" in failed.message, failed.message
    assert "version 2" in failed.message, failed.message
    place.until_answers(job, {"one"})
    # What the node of a workflow that takes back has to know.
    assert failed.handed_on["service_deploy_job"] == job


@WAYS
def test_canaries_wait_for_the_promote_playbook_which_runs_once(place, way):
    job = f"{way}-canary"
    file = job_file(place.folder, job, canary=1)
    place.run(file)
    waits = deploy(place, way, file, says="two", service_deploy_gate="manual")
    assert (waits.rc, waits.result.get("outcome")) == (0, "awaiting_promotion"), waits.told
    place.until_answers(job, {"one", "two"})
    promoted = place.play("promote", **OPTIONS[way], service_deploy_job=job)
    assert (promoted.rc, promoted.changed, promoted.result.get("outcome")) == (0, 1, "deployed"), promoted.told
    place.until_answers(job, {"two"})
    again = place.play("promote", **OPTIONS[way], service_deploy_job=job)
    assert (again.rc, again.changed) == (0, 0), again.told


@WAYS
def test_a_job_goes_back_to_the_version_before_and_to_the_one_that_is_named(place, way):
    job = f"{way}-back"
    file = job_file(place.folder, job)
    for says in ("one", "two", "three"):
        place.run(file, says=says)
    back = place.play("rollback", **OPTIONS[way], service_deploy_job=job)
    assert (back.rc, back.changed) == (0, 1), back.told
    place.until_answers(job, {"two"})
    named = place.play("rollback", **OPTIONS[way], service_deploy_job=job, service_deploy_to_version=0)
    assert (named.rc, named.changed) == (0, 1), named.told
    place.until_answers(job, {"one"})
    unknown = place.play("rollback", **OPTIONS[way], service_deploy_job=job, service_deploy_to_version=77)
    assert unknown.rc == 2 and "77" in unknown.message, unknown.told


@WAYS
def test_canaries_that_are_denied_are_taken_back_and_what_stands_stays(place, way):
    job = f"{way}-denied"
    file = job_file(place.folder, job, canary=1)
    place.run(file)
    deploy(place, way, file, says="two", service_deploy_gate="manual")
    unfinished = {**OPTIONS[way], "service_deploy_job": job, "service_deploy_unfinished_only": True}
    denied = place.play("rollback", **unfinished)
    assert (denied.rc, denied.changed) == (0, 1), denied.told
    place.until_answers(job, {"one"})
    stands = place.play("rollback", **unfinished)
    assert (stands.rc, stands.changed) == (0, 0), stands.told


@WAYS
def test_of_two_playbooks_on_one_job_the_second_is_told_who_holds_it(place, way):
    job = f"{way}-held"
    file = job_file(place.folder, job)
    place.run(file)
    # It never gets healthy, so it is under way until its deployment is ended.
    slow = json.dumps({"says": "sleeping"})
    first = place.start("deploy", **OPTIONS[way], service_deploy_file=str(file), service_deploy_vars=slow)
    until(30, "a second version", lambda: place.version(job) == 1)
    second = deploy(place, way, file, says="two")
    assert second.rc == 2, second.told
    held = "held by deployment" if way == "nomad" else "is being deployed by"
    assert held in second.message, second.message
    # A workflow takes back what its first node began, so this one must not name the other's rollout.
    assert second.handed_on == {"service_deploy_job": "", "service_deploy_outcome": "failed"}
    place.end_deployment(job)
    ended = finish(first)
    assert (ended.rc, ended.handed_on["service_deploy_job"]) == (2, job), ended.told
    place.until_answers(job, {"one"})


def test_a_strategy_that_nomad_does_not_know_is_refused_and_nothing_is_handed_on(place):
    refused = deploy(place, "nomad", place.folder / "any.nomad.hcl", service_deploy_strategy="canary")
    assert refused.rc == 2 and "set service_deploy_with=meshctl" in refused.message, refused.told
    assert refused.handed_on == {"service_deploy_job": "", "service_deploy_outcome": "failed"}


def test_a_token_is_never_printed(place):
    file = job_file(place.folder, "nomad-secret")
    looked = deploy(place, "nomad", file, "-vvvv", "--check", service_deploy_nomad_token=SECRET)
    assert looked.rc == 0, looked.told
    assert SECRET not in looked.printed


def test_a_job_that_only_begins_with_the_name_is_left_alone(place):
    place.run(job_file(place.folder, "nomad-prefix-long"))
    refused = place.play("rollback", **OPTIONS["nomad"], service_deploy_job="nomad-prefix")
    assert refused.rc == 2 and "no job of exactly this id" in refused.message, refused.told


@WAYS
def test_a_nomad_that_does_not_answer_is_named(place, way):
    file = job_file(place.folder, f"{way}-away")
    refused = deploy(place, way, file, service_deploy_nomad_url="http://127.0.0.1:1")
    assert refused.rc == 2 and "127.0.0.1:1" in refused.message, refused.told
