"""AWX as code: what awx_config.yml would create, against a mock of AWX's API. No AWX was run."""

import json
import os
import subprocess
from collections.abc import Iterator

import awx_mock
import pytest
import yaml
from conftest import ANSIBLE, run

TOKEN = "an-oauth-token"
MINE = {
    "awx_project_url": "https://git.example.com/team/deployments.git",
    "awx_job_files": ["jobs/orders.nomad.hcl", "jobs/quotes.nomad.hcl"],
    "awx_approval_seconds": 600,
    "awx_deployers": ["Traders"],
    "awx_approvers": ["Service owners"],
}


@pytest.fixture(scope="module")
def awx() -> Iterator[tuple[awx_mock.Awx, str, dict[str, str]]]:
    """A mock that awx_config.yml was applied to once: what it holds, what Ansible printed, its environment."""
    held, server = awx_mock.serve(TOKEN)
    for team in ("Traders", "Service owners"):
        held.add("teams", {"name": team})
    place = {"CONTROLLER_HOST": f"http://127.0.0.1:{server.server_port}", "CONTROLLER_OAUTH_TOKEN": TOKEN}
    try:
        yield held, configure(place).stdout, place
    finally:
        server.shutdown()


def configure(place: dict[str, str], *more: str) -> subprocess.CompletedProcess[str]:
    return run(
        "ansible-playbook", "playbooks/awx_config.yml", "-e", json.dumps(MINE), *more, env={**os.environ, **place}
    )


def test_everything_is_created_in_one_run(awx):
    held, _, _ = awx
    created = {
        kind: sorted(held.named(kind))
        for kind in held.items
        if held.items[kind] and kind not in ("project_updates", "teams")
    }
    assert created == {
        "organizations": ["Mesh"],
        "credential_types": ["Consul", "Mesh control planes", "Nomad"],
        "credentials": ["Consul", "Mesh control planes", "Nomad"],
        "execution_environments": ["Mesh"],
        "projects": ["Deployments"],
        "inventories": ["Mesh"],
        "job_templates": ["Deploy a service", "Drain a host", "Promote a service", "Roll a service back"],
        "workflow_job_templates": ["Deploy a service with approval"],
        "workflow_job_template_nodes": ["approve", "canaries", "promote", "take back"],
        "workflow_approval_templates": ["Promote the canaries?"],
        "schedules": ["Compare jobs/orders.nomad.hcl", "Compare jobs/quotes.nomad.hcl"],
    }


def test_a_second_run_changes_nothing_and_a_token_that_was_entered_by_hand_stays(awx):
    held, _, place = awx
    credential = held.named("credentials")["Nomad"]
    assert credential["inputs"] == {"url": "http://nomad.example.com:4646"}
    credential["inputs"]["token"] = "entered by hand"
    before = len(held.writes)
    assert "changed=0" in configure(place).stdout
    assert held.writes[before:] == []
    assert held.named("credentials")["Nomad"]["inputs"]["token"] == "entered by hand"


def test_credentials_reach_a_job_as_the_variables_that_the_tools_read(awx):
    held, _, _ = awx
    env = {name: kind["injectors"]["env"] for name, kind in held.named("credential_types").items()}
    assert env == {
        "Nomad": {
            "NOMAD_ADDR": "{{ url }}",
            "NOMAD_TOKEN": "{{ token }}",
            "NOMAD_CACERT": "{% if ca %}{{ tower.filename.ca }}{% endif %}",
        },
        "Consul": {
            "CONSUL_HTTP_ADDR": "{{ url }}",
            "CONSUL_HTTP_TOKEN": "{{ token }}",
            "CONSUL_CACERT": "{% if ca %}{{ tower.filename.ca }}{% endif %}",
        },
        "Mesh control planes": {
            "MESH_API": "{{ urls }}",
            "MESH_API_TOKEN": "{{ token }}",
            "MESH_API_CACERT": "{% if ca %}{{ tower.filename.ca }}{% endif %}",
        },
    }
    secret = {
        name: [one["id"] for one in kind["inputs"]["fields"] if one.get("secret")]
        for name, kind in held.named("credential_types").items()
    }
    assert secret == {"Nomad": ["token"], "Consul": ["token"], "Mesh control planes": ["token"]}


def test_a_template_runs_its_playbook_with_its_credentials_and_may_be_launched_in_check_mode(awx):
    held, _, _ = awx
    names = {item["id"]: name for kind in ("credentials", "projects") for name, item in held.named(kind).items()}
    deploy = held.named("job_templates")["Deploy a service"]
    linked = held.links[("job_templates", deploy["id"], "credentials")]
    assert sorted(names[one] for one in linked) == ["Consul", "Mesh control planes", "Nomad"]
    assert names[deploy["project"]] == "Deployments"
    assert deploy["playbook"] == "ansible/playbooks/deploy.yml"
    assert (deploy["ask_job_type_on_launch"], deploy["diff_mode"], deploy["allow_simultaneous"]) == (True, True, True)
    assert json.loads(deploy["extra_vars"]) == {"service_deploy_with": "meshctl"}
    assert held.named("job_templates")["Drain a host"]["allow_simultaneous"] is False


def test_the_workflow_asks_a_person_between_canaries_and_promotion_and_takes_back_what_fails(awx):
    held, _, _ = awx
    nodes = held.named("workflow_job_template_nodes")
    names = {node["id"]: name for name, node in nodes.items()}
    ways = {
        name: {
            way: [names[one] for one in held.links.get(("workflow_job_template_nodes", node["id"], way), [])]
            for way in ("success_nodes", "failure_nodes")
        }
        for name, node in nodes.items()
    }
    assert ways == {
        "canaries": {"success_nodes": ["approve"], "failure_nodes": ["take back"]},
        "approve": {"success_nodes": ["promote"], "failure_nodes": ["take back"]},
        "promote": {"success_nodes": [], "failure_nodes": ["take back"]},
        "take back": {"success_nodes": [], "failure_nodes": []},
    }
    templates = {item["id"]: name for name, item in held.named("job_templates").items()}
    assert templates[nodes["canaries"]["unified_job_template"]] == "Deploy a service"
    assert nodes["canaries"]["extra_data"] == {"service_deploy_gate": "manual"}
    assert templates[nodes["promote"]["unified_job_template"]] == "Promote a service"
    assert templates[nodes["take back"]["unified_job_template"]] == "Roll a service back"
    assert nodes["take back"]["extra_data"] == {"service_deploy_unfinished_only": "true"}
    approval = held.items["workflow_approval_templates"][nodes["approve"]["unified_job_template"]]
    assert (approval["name"], approval["timeout"]) == ("Promote the canaries?", 600)


def test_only_the_named_teams_may_deploy_and_approve(awx):
    held, _, _ = awx
    for template in held.named("job_templates"):
        assert held.may("job_templates", template, "execute") == ["Traders"]
    assert held.may("workflow_job_templates", "Deploy a service with approval", "execute") == ["Traders"]
    assert held.may("workflow_job_templates", "Deploy a service with approval", "approval") == ["Service owners"]


def test_what_a_node_is_given_its_template_asks_for(awx):
    held, _, _ = awx
    for node in held.named("workflow_job_template_nodes").values():
        survey = held.surveys.get(("job_templates", node["unified_job_template"]), {"spec": []})
        asked = {question["variable"]: question for question in survey["spec"]}
        for variable, value in node.get("extra_data", {}).items():
            assert value in asked[variable]["choices"]


def test_every_night_each_file_is_compared_in_check_mode(awx):
    held, _, _ = awx
    schedule = held.named("schedules")["Compare jobs/quotes.nomad.hcl"]
    assert schedule["job_type"] == "check"
    assert schedule["extra_data"] == {
        "service_deploy_file": "jobs/quotes.nomad.hcl",
        "service_deploy_vars": "{}",
        "service_deploy_strategy": "rolling",
        "service_deploy_gate": "auto",
        "service_deploy_timeout_seconds": 900,
    }
    assert schedule["unified_job_template"] == held.named("job_templates")["Deploy a service"]["id"]
    assert schedule["rrule"] == "DTSTART:20260101T040000Z RRULE:FREQ=DAILY;INTERVAL=1"


SURVEY_TYPES = {
    "str": ("text", "multiplechoice"),
    "int": ("integer",),
    "bool": ("multiplechoice",),
    "dict": ("textarea",),
}
ROLES = {
    "deploy.yml": ("service_deploy", "main"),
    "promote.yml": ("service_deploy", "promote"),
    "rollback.yml": ("service_deploy", "rollback"),
    "drain.yml": ("node_drain", "main"),
}


def test_every_question_is_an_option_of_the_role_behind_the_playbook(awx):
    held, _, _ = awx
    for template in yaml.safe_load((ANSIBLE / "awx/job_templates.yml").read_text())["awx_job_templates"]:
        role, entry = ROLES[template["playbook"]]
        specs = yaml.safe_load((ANSIBLE / f"roles/{role}/meta/argument_specs.yml").read_text())["argument_specs"]
        options = specs[entry]["options"]
        item = held.named("job_templates")[template["name"]]
        asked = held.surveys[("job_templates", item["id"])]["spec"]
        for question in asked:
            variable, option = question["variable"], options[question["variable"]]
            assert question["type"] in SURVEY_TYPES[option["type"]], variable
            # AWX sends an empty answer as an empty text, which is no number, no choice and no map.
            assert question["required"], variable
            if "choices" in option:
                assert question["choices"] == option["choices"], variable
            if "default" in option:
                assert as_given(option, question["default"]) == option["default"], variable
        demanded = {name for name, option in options.items() if option.get("required")}
        assert demanded <= {question["variable"] for question in asked}, template["name"]


def as_given(option, answer):
    """An answer as the role takes it."""
    return json.loads(answer) if option["type"] in ("bool", "dict") else answer


def test_modules_of_awx_are_given_only_what_they_know():
    play = yaml.safe_load((ANSIBLE / "playbooks/awx_config.yml").read_text())[0]
    used = {key: task[key] for task in play["tasks"] for key in task if key.startswith("awx.awx.")}
    documented = json.loads(run("ansible-doc", "-j", *used).stdout)
    for task in play["tasks"]:
        for module in (key for key in task if key.startswith("awx.awx.")):
            assert set(task[module]) <= set(documented[module]["doc"]["options"]), module


def test_a_wrong_token_is_said_so(awx):
    _, _, place = awx
    done = run(
        "ansible-playbook", "playbooks/awx_config.yml", check=False,
        env={**os.environ, **place, "CONTROLLER_OAUTH_TOKEN": "wrong"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "401" in done.stdout + done.stderr or "credentials" in done.stdout + done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_playbook_finds_its_parts_as_awx_runs_it():
    """From the project's root, with the paths that AWX sets and no ansible.cfg in sight: awx/main/tasks/jobs.py."""
    paths = {
        "ANSIBLE_ROLES_PATH": "/runner/requirements_roles:~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles",
        "ANSIBLE_COLLECTIONS_PATH": "/runner/requirements_collections:~/.ansible/collections:/usr/share/ansible/collections",
    }
    given = {"service_deploy_with": "nomad", "service_deploy_nomad": "no-such-nomad", "service_deploy_file": "a.hcl"}
    command = ["ansible-playbook", "ansible/playbooks/deploy.yml", "-e", json.dumps(given)]
    done = run(*command, cwd=ANSIBLE.parent, check=False, env={**os.environ, **paths})
    assert done.returncode == 2
    assert "Failed to find required executable" in done.stdout
