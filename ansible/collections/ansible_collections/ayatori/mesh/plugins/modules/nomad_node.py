#!/usr/bin/python
"""Empties a host of Nomad for its maintenance, and gives it back."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import Nomad, NomadError
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_node import Hosts
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_process import CONNECTION, runner
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_outcome import Patience, Refused

DOCUMENTATION = r"""
module: nomad_node
short_description: Empty a host of Nomad, or give it back
description:
  - Closes the host to new work, drains it with a deadline and waits until nothing runs there.
  - Runs C(nomad) where the task runs; delegate it to C(localhost).
options:
  node:
    description: The node's name or its whole id.
    type: str
    required: true
  state:
    description: C(drained) empties it and leaves it closed; C(eligible) ends a drain and opens it.
    type: str
    choices: [drained, eligible]
    default: drained
  deadline_seconds:
    description: What still runs after this is stopped by Nomad.
    type: int
    default: 3600
  grace_seconds:
    description: How long after the deadline to wait until everything has ended.
    type: int
    default: 60
  ignore_system:
    description: Leave the instances of system jobs where they are.
    type: bool
    default: false
  message:
    description: Why, for whoever looks at the node.
    type: str
    default: drained by a playbook
  poll_seconds:
    description: The pause between two looks.
    type: float
    default: 2
extends_documentation_fragment: ayatori.mesh.nomad
attributes:
  check_mode:
    description: Says what would be moved and changes nothing.
    support: full
author: Ayatori
"""

EXAMPLES = r"""
- name: Empty a host
  ayatori.mesh.nomad_node:
    node: host-1.example.com
    deadline_seconds: 600
  delegate_to: localhost
"""

RETURN = r"""
node_id:
  description: The node's id.
  type: str
  returned: success
"""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "node": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["drained", "eligible"], "default": "drained"},
    "deadline_seconds": {"type": "int", "default": 3600},
    "grace_seconds": {"type": "int", "default": 60},
    "ignore_system": {"type": "bool", "default": False},
    "message": {"type": "str", "default": "drained by a playbook"},
    "poll_seconds": {"type": "float", "default": 2},
    **CONNECTION,
}


def main() -> None:
    module = AnsibleModule(ARGUMENTS, supports_check_mode=True)
    params = module.params
    limit = params["deadline_seconds"] + params["grace_seconds"]
    patience = Patience(limit, time.monotonic, lambda: time.sleep(params["poll_seconds"]))
    hosts = Hosts(Nomad(runner(module)), patience, module.check_mode)
    try:
        if params["state"] == "drained":
            told = (params["deadline_seconds"], params["ignore_system"], params["message"])
            done = hosts.drain(params["node"], *told)
        else:
            done = hosts.give_back(params["node"])
    except (Refused, NomadError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=done.changed, node_id=done.node.id, msg=done.message)


if __name__ == "__main__":
    main()
