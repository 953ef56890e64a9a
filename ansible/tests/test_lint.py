"""What can be said of ansible/ without a host."""

import yaml
from conftest import ANSIBLE, REPOSITORY, run


def test_the_production_profile_finds_nothing():
    run("ansible-lint", "--offline", "-q", "--nocolor")


def test_collections_are_those_that_setup_installs():
    wanted = yaml.safe_load((ANSIBLE / "requirements.yml").read_text())["collections"]
    listed = run("ansible-galaxy", "collection", "list").stdout
    there = dict(line.split() for line in listed.splitlines() if line.count(".") == 3)
    assert {one["name"]: str(one["version"]) for one in wanted}.items() <= there.items()
    setup = (REPOSITORY / "scripts/setup").read_text()
    assert {f'{one["name"].replace(".", "/")}' for one in wanted} == set(
        setup.split('ansible_collections="')[1].split('"')[0].split()
    )


def test_the_tag_of_a_role_brings_its_program_too():
    listed = run("ansible-playbook", "playbooks/site.yml", "--list-tasks", "--tags", "consul").stdout
    assert "program : Copy {{ program_name }}" in listed and "nomad : Settings" not in listed
