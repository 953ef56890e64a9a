#!/usr/bin/python
"""Rolls a Nomad job out, promotes it or takes it back with Nomad's command line alone."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import Nomad, NomadError
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_process import CONNECTION, runner
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_outcome import Patience, Refused
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_rollout import Rollout
from ansible_collections.ayatori.mesh.plugins.module_utils.rollout_options import (
    ROLLOUT,
    Ended,
    finish,
    module_of,
    variables,
)

DOCUMENTATION = r"""
module: nomad_deploy
short_description: Roll a Nomad job out with the Nomad command line alone
description:
  - Plans a job file, registers it only if it differs and only over what was planned, waits until all of it is healthy, and
    takes a bad version back with the events of its allocations in the message.
  - Runs C(nomad) where the task runs; delegate it to C(localhost).
  - What the job file's C(update) block says decides between rolling and canaries.
options:
  poll_seconds:
    description: The pause between two looks.
    type: float
    default: 2
extends_documentation_fragment: [ayatori.mesh.nomad, ayatori.mesh.rollout]
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
  description: C(deployed), C(unchanged), C(planned), C(awaiting_promotion), C(reverted) or C(failed).
  type: str
  returned: always
job:
  description: The job's id, where it is known.
  type: str
  returned: always
version:
  description: The version that is registered now, where it is known.
  type: int
  returned: always
"""


ARGUMENTS: dict[str, dict[str, Any]] = {**ROLLOUT, "poll_seconds": {"type": "float", "default": 2}, **CONNECTION}


def act(rollout: Rollout, params: dict[str, Any]) -> Ended:
    """The one thing that is wanted."""
    if params["action"] == "deploy":
        return rollout.deploy(params["file"], variables(params, "-var", "-var-file"))
    if params["action"] == "promote":
        return rollout.promote(params["job"])
    to_version = params["to_version"] if params["to_version"] >= 0 else None
    return rollout.rollback(params["job"], to_version, params["unfinished_only"])


def main() -> None:
    module = module_of(ARGUMENTS)
    params = module.params
    patience = Patience(params["timeout_seconds"], time.monotonic, lambda: time.sleep(params["poll_seconds"]))
    nomad = Nomad(runner(module))
    try:
        ended = act(Rollout(nomad, patience, params["gate"], module.check_mode), params)
    except Refused as error:
        ended = Ended(True, nomad.has_changed, "failed", error.subject, None, str(error))
    except NomadError as error:
        ended = Ended(True, nomad.has_changed, "failed", "", None, str(error))
    finish(module, ended)


if __name__ == "__main__":
    main()
