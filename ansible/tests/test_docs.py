"""Documents and defaults say what the roles' argument specifications say."""

import json
import os
import re

import pytest
import yaml
from conftest import ANSIBLE, REPOSITORY

ROLES = ["base", "program", "docker", "consul", "nomad", "envoy", "host_agent"]
DOCUMENT = REPOSITORY / "docs/hosts.md"
MARKS = ("<!-- generated: begin -->\n", "<!-- generated: end -->\n")


def specification(role: str) -> dict:
    return yaml.safe_load((ANSIBLE / "roles" / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]


def plain(text: str) -> str:
    """Ansible's marks of names and values as Markdown's."""
    return re.sub(r"[CIB]\(([^)]*)\)", r"`\1`", text)


def table(role: str) -> str:
    main = specification(role)
    lines = [
        f"### `{role}`",
        "",
        f"{main['short_description']}.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, option in main["options"].items():
        default = option.get("default")
        if option.get("required"):
            shown = "required"
        elif default in ("", [], {}):
            shown = "none"
        elif isinstance(default, dict) and len(default) > 3:
            shown = "a list, in the role's defaults"
        else:
            shown = f"`{default if isinstance(default, str) else json.dumps(default)}`"
        kind = "" if option["type"] in ("str", "path", "bool", "int") else f" ({option['type']})"
        lines.append(f"| `{name}` | {shown} | {plain(option['description'])}{kind} |")
        for key, part in option.get("options", {}).items():
            lines.append(
                f"| … `{key}` | {'required' if part.get('required') else 'none'} | {plain(part['description'])} |"
            )
    return "\n".join(lines) + "\n"


def test_every_variable_is_documented():
    text = DOCUMENT.read_text()
    before, rest = text.split(MARKS[0])
    written, after = rest.split(MARKS[1])
    made = "\n" + "\n".join(table(role) for role in ROLES) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        DOCUMENT.write_text(before + MARKS[0] + made + MARKS[1] + after)
    else:
        assert written == made, "run `UPDATE_GOLDEN=1 make test-ansible` and look at the difference"


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_those_that_are_specified(role: str):
    options = specification(role)["options"]
    specified = {name: option["default"] for name, option in options.items() if not option.get("required")}
    assert yaml.safe_load((ANSIBLE / "roles" / role / "defaults/main.yml").read_text()) == specified


@pytest.mark.parametrize("role", ROLES)
def test_what_is_called_secret_is_never_logged(role: str):
    options = specification(role)["options"]
    secret = {name for name, option in options.items() if option["description"].startswith("Secret")}
    assert secret == {name for name, option in options.items() if option.get("no_log")}
