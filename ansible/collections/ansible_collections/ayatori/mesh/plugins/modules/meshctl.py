#!/usr/bin/python
"""Rolls a service out, promotes it or takes it back with meshctl, which waits for Nomad and for the mesh."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ayatori.mesh.plugins.module_utils.meshctl_events import foresee, read
from ansible_collections.ayatori.mesh.plugins.module_utils.rollout_options import ROLLOUT, finish, module_of, variables

DOCUMENTATION = r"""
module: meshctl
short_description: Roll a service out with meshctl
description:
  - Runs C(meshctl deploy), C(promote) or C(rollback) and turns its exit code into changed or failed, with the message that a
    person needs. Exit code 4 (a person has to agree) is no failure.
  - Runs C(meshctl) where the task runs; delegate it to C(localhost).
  - C(NOMAD_CACERT), C(CONSUL_CACERT) and C(MESH_API_CACERT) of the environment name files with authorities, in place of the
    system's.
options:
  strategy:
    description: How the version comes; C(rolling) is what the file's update block says.
    type: str
    choices: [rolling, blue-green, canary]
    default: rolling
  nomad_url:
    description: Where Nomad answers.
    type: str
    required: true
  nomad_token:
    description: An ACL token of Nomad; without it, C(NOMAD_TOKEN) of the environment.
    type: str
  namespace:
    description: The job's namespace.
    type: str
  region:
    description: The job's region.
    type: str
  consul_url:
    description: Where Consul answers, which keeps who deploys what.
    type: str
    required: true
  consul_token:
    description: An ACL token of Consul; without it, C(CONSUL_HTTP_TOKEN) of the environment.
    type: str
  api_urls:
    description: The control planes that know whether the mesh has taken a version up; without them meshctl's own default.
    type: list
    elements: str
    default: []
  api_token:
    description: The bearer token of the control planes' API; without it, C(MESH_API_TOKEN) of the environment.
    type: str
  wait_for_mesh:
    description: Whether every proxy has to know a version before it is promoted; jobs outside the mesh pass in any case.
    type: bool
    default: true
  lint:
    description: Refuse a file with what C(meshctl lint) calls errors.
    type: bool
    default: true
  executable:
    description: The C(meshctl) to run.
    type: str
    default: meshctl
extends_documentation_fragment: ayatori.mesh.rollout
author: Ayatori
"""

EXAMPLES = r"""
- name: Deploy
  ayatori.mesh.meshctl:
    file: jobs/orders.nomad.hcl
    vars:
      version: "1.4.2"
    nomad_url: http://nomad.example.com:4646
    consul_url: http://consul.example.com:8500
    api_urls: [https://control-plane.example.com:18002]
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
outcome:
  description: As meshctl names it, C(deployed), C(unchanged), C(planned), C(awaiting_promotion), C(rolled_back), C(reverted) and others.
  type: str
  returned: always
job:
  description: The job's id, where it is known.
  type: str
  returned: always
version:
  description: The version that is registered now.
  type: int
  returned: always
"""

ARGUMENTS: dict[str, dict[str, Any]] = {
    **ROLLOUT,
    "strategy": {"type": "str", "choices": ["rolling", "blue-green", "canary"], "default": "rolling"},
    "nomad_url": {"type": "str", "required": True},
    "nomad_token": {"type": "str", "no_log": True},
    "namespace": {"type": "str"},
    "region": {"type": "str"},
    "consul_url": {"type": "str", "required": True},
    "consul_token": {"type": "str", "no_log": True},
    "api_urls": {"type": "list", "elements": "str", "default": []},
    "api_token": {"type": "str", "no_log": True},
    "wait_for_mesh": {"type": "bool", "default": True},
    "lint": {"type": "bool", "default": True},
    "executable": {"type": "str", "default": "meshctl"},
}


# Files with authorities: the flag, and the variable of the environment that the other tools read too.
AUTHORITIES = {"--nomad-ca-file": "NOMAD_CACERT", "--ca-file": "CONSUL_CACERT", "--api-ca-file": "MESH_API_CACERT"}


def authorities(environ: Mapping[str, str]) -> list[str]:
    """Who may sign the certificates of those who are asked; an empty variable is none."""
    given = ((flag, environ.get(variable)) for flag, variable in AUTHORITIES.items())
    return [word for flag, file in given if file for word in (flag, file)]


def reach(params: Mapping[str, Any]) -> list[str]:
    """Who is asked. The API's token is read from a file alone."""
    words = ["-o", "json", "--nomad", params["nomad_url"], "--consul", params["consul_url"]]
    for flag, value in (
        ("--namespace", params["namespace"]),
        ("--region", params["region"]),
        ("--api", ",".join(params["api_urls"])),
        ("--api-token-file", params.get("api_token_file")),
    ):
        words += [flag, value] if value else []
    return [*words, *params.get("authorities", [])]


def arguments(params: Mapping[str, Any], check: bool) -> list[str]:
    """The command line without the program."""
    action, limit = params["action"], f"{params['timeout_seconds']}s"
    gates = [*([] if params["wait_for_mesh"] else ["none"])]
    words: list[str] = [action, params["file"] if action == "deploy" else params["job"], *reach(params)]
    words += ["--timeout", limit]
    if action == "deploy":
        words += ["--strategy", params["strategy"], "--dry-run" if check else "--yes"]
        words += [] if params["lint"] else ["--no-lint"]
        gates += ["manual"] if params["gate"] == "manual" else []
        words += variables(params, "--var", "--var-file")
    if action == "rollback":
        words += ["--yes", *(["--to-version", str(params["to_version"])] if params["to_version"] >= 0 else [])]
    return words + (["--gate", ",".join(gates)] if gates else [])


def asked(params: Mapping[str, Any]) -> str:
    """Who is asked, for people."""
    planes = ", ".join(params["api_urls"]) or "meshctl's default"
    return f"Nomad: {params['nomad_url']}; Consul: {params['consul_url']}; control planes: {planes}."


def environment(params: Mapping[str, Any]) -> dict[str, str]:
    """Tokens go by the environment, which nobody else on the host sees."""
    told = {"NOMAD_TOKEN": params["nomad_token"], "CONSUL_HTTP_TOKEN": params["consul_token"]}
    return {key: value for key, value in told.items() if value}


def api_token_file(module: AnsibleModule) -> str | None:
    """The API's token in a file of this run, which goes with its folder."""
    token = module.params["api_token"] or os.environ.get("MESH_API_TOKEN")
    if not token:
        return None
    path: str
    descriptor, path = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return path


def main() -> None:
    module = module_of(ARGUMENTS)
    params = {**module.params, "api_token_file": api_token_file(module), "authorities": authorities(os.environ)}
    executable = module.get_bin_path(params["executable"], required=True)
    told_by_environment = environment(params)

    def run(words: list[str]) -> tuple[int, str, str]:
        done: tuple[int, str, str] = module.run_command([executable, *words], environ_update=told_by_environment)
        return done

    verdict = None
    if params["action"] != "deploy":
        # Whether there is anything to do; `deploy` finds that out itself.
        status = run(["status", params["job"], *reach(params)])
        verdict = foresee(params["action"], params["job"], params["unfinished_only"], module.check_mode, *status)
    if verdict is None:
        verdict = read(*run(arguments(params, module.check_mode)), asked=asked(params))
    finish(module, verdict)


if __name__ == "__main__":
    main()
