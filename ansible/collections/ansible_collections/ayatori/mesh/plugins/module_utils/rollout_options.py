"""What every module that rolls a job out takes and tells: its options, the job file's variables, and how it ends.

Comes in: a module's parameters, how the rollout ended. Goes out: `name=value` words, the module's last words. Holds: whoever
fails tells whether anything was changed before, as the next node of a workflow takes back what was begun and nothing else.
Deliberately absent: running a program (meshctl.py, nomad_process.py), and deciding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ansible.module_utils.basic import AnsibleModule

ROLLOUT: dict[str, dict[str, Any]] = {
    "action": {"type": "str", "choices": ["deploy", "promote", "rollback"], "default": "deploy"},
    "file": {"type": "path"},
    "vars": {"type": "dict", "default": {}},
    "var_files": {"type": "list", "elements": "path", "default": []},
    "job": {"type": "str"},
    "to_version": {"type": "int", "default": -1},
    "unfinished_only": {"type": "bool", "default": False},
    "gate": {"type": "str", "choices": ["auto", "manual"], "default": "auto"},
    "timeout_seconds": {"type": "int", "default": 900},
}
_NEEDED = [("action", "deploy", ["file"]), ("action", "promote", ["job"]), ("action", "rollback", ["job"])]


@dataclass(frozen=True)
class Ended:
    """How a rollout ended. `changed` is whether Nomad was told to change anything, also where it failed in the end."""

    failed: bool
    changed: bool
    outcome: str
    job: str
    version: int | None
    message: str
    diff: str = ""


def module_of(arguments: Mapping[str, Mapping[str, Any]]) -> AnsibleModule:
    """A module that takes these arguments, of which `ROLLOUT` is a part."""
    return AnsibleModule(arguments, supports_check_mode=True, required_if=_NEEDED)


def variables(params: Mapping[str, Any], flag: str, file_flag: str) -> list[str]:
    """The words that give the job file's variables: a flag before each `name=value`, another before each file."""
    values = [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in params["vars"].items()
    ]
    pairs = [*((flag, value) for value in values), *((file_flag, file) for file in params["var_files"])]
    return [word for pair in pairs for word in pair]


def finish(module: AnsibleModule, ended: Ended) -> NoReturn:
    """Ends the module."""
    told: dict[str, Any] = {
        "changed": ended.changed,
        "outcome": ended.outcome,
        "job": ended.job or module.params["job"] or "",
        "version": ended.version,
        "msg": ended.message,
    }
    if ended.diff:
        told["diff"] = {"prepared": ended.diff}
    end: Callable[..., NoReturn] = module.fail_json if ended.failed else module.exit_json
    end(**told)
