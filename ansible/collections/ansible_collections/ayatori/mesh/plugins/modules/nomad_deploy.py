#!/usr/bin/python
"""Rolls a Nomad job out, promotes it or takes it back with Nomad's command line alone."""

from __future__ import annotations

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import Nomad, NomadError
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_process import CONNECTION, runner
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_outcome import Outcome, Patience, Refused
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_rollout import Rollout

DOCUMENTATION = r"""
module: nomad_deploy
short_description: Roll a Nomad job out with the Nomad command line alone
description:
  - Plans a job file, registers it only if it differs and only over what was planned, waits until all of it is healthy, and
    takes a bad version back with the events of its allocations in the message.
  - Runs C(nomad) where the task runs; delegate it to C(localhost).
  - What the job file's C(update) block says decides between rolling and canaries.
options:
  action:
    description: What is wanted.
    type: str
    choices: [deploy, promote, rollback]
    default: deploy
  file:
    description: The job file, for C(deploy).
    type: path
  vars:
    description: HCL variables of the job file. Lists and maps are passed as JSON, which HCL reads.
    type: dict
    default: {}
  var_files:
    description: Files with HCL variables.
    type: list
    elements: path
    default: []
  job:
    description: The whole id of the job, for C(promote) and C(rollback).
    type: str
  to_version:
    description: The version to go back to; -1 is the newest stable one before what runs.
    type: int
    default: -1
  unfinished_only:
    description: Take back only a rollout that is under way or has failed; what stands stays.
    type: bool
    default: false
  gate:
    description: C(auto) promotes canaries when all are healthy; C(manual) ends then and leaves that to a person.
    type: str
    choices: [auto, manual]
    default: auto
  timeout_seconds:
    description: How long a version may take to become healthy, and how long going back may take.
    type: int
    default: 900
  poll_seconds:
    description: The pause between two looks.
    type: float
    default: 2
extends_documentation_fragment: ayatori.mesh.nomad
attributes:
  check_mode:
    description: Plans and changes nothing.
    support: full
  diff_mode:
    description: Shows Nomad's plan.
    support: full
author: Ayatori
"""

EXAMPLES = r"""
- name: Deploy
  ayatori.mesh.nomad_deploy:
    file: jobs/orders.nomad.hcl
    vars:
      version: "1.4.2"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
outcome:
  description: C(deployed), C(unchanged), C(planned), C(awaiting_promotion) or C(reverted).
  type: str
  returned: success
job:
  description: The job's id.
  type: str
  returned: success
version:
  description: The version that is registered now.
  type: int
  returned: success
"""


ARGUMENTS: dict[str, dict[str, Any]] = {
    "action": {"type": "str", "choices": ["deploy", "promote", "rollback"], "default": "deploy"},
    "file": {"type": "path"},
    "vars": {"type": "dict", "default": {}},
    "var_files": {"type": "list", "elements": "path", "default": []},
    "job": {"type": "str"},
    "to_version": {"type": "int", "default": -1},
    "unfinished_only": {"type": "bool", "default": False},
    "gate": {"type": "str", "choices": ["auto", "manual"], "default": "auto"},
    "timeout_seconds": {"type": "int", "default": 900},
    "poll_seconds": {"type": "float", "default": 2},
    **CONNECTION,
}


def inputs(params: dict[str, Any]) -> list[str]:
    """The -var and -var-file arguments."""
    values = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in params["vars"].items()
    ]
    pairs = [("-var", value) for value in values] + [("-var-file", file) for file in params["var_files"]]
    return [word for pair in pairs for word in pair]


def act(rollout: Rollout, params: dict[str, Any]) -> Outcome:
    """The one thing that is wanted."""
    if params["action"] == "deploy":
        return rollout.deploy(params["file"], inputs(params))
    if params["action"] == "promote":
        return rollout.promote(params["job"])
    to_version = params["to_version"] if params["to_version"] >= 0 else None
    return rollout.rollback(params["job"], to_version, params["unfinished_only"])


def main() -> None:
    module = AnsibleModule(
        ARGUMENTS,
        supports_check_mode=True,
        required_if=[("action", "deploy", ["file"]), ("action", "promote", ["job"]), ("action", "rollback", ["job"])],
    )
    params = module.params
    patience = Patience(params["timeout_seconds"], time.monotonic, lambda: time.sleep(params["poll_seconds"]))
    try:
        done = act(Rollout(Nomad(runner(module)), patience, params["gate"], module.check_mode), params)
    except Refused as error:
        module.fail_json(msg=str(error), outcome="failed", job=error.subject)
    except NomadError as error:
        module.fail_json(msg=str(error), outcome="failed", job=params["job"] or "")
    diff = {"diff": {"prepared": done.diff}} if done.diff else {}
    module.exit_json(
        changed=done.changed, outcome=done.outcome, job=done.job, version=done.version, msg=done.message, **diff
    )


if __name__ == "__main__":
    main()
