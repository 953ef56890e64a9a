"""Runs `nomad` for a module: where it is, and what its environment tells it. The same options for every such module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import Ran, Runner

CONNECTION: dict[str, dict[str, Any]] = {
    "address": {"type": "str"},
    "token": {"type": "str", "no_log": True},
    "namespace": {"type": "str"},
    "region": {"type": "str"},
    "executable": {"type": "str", "default": "nomad"},
}


def environment(params: Mapping[str, Any]) -> dict[str, str]:
    """What `nomad` is told. A Consul token of the environment is kept from it: `nomad job run` would write it into the job."""
    told = {
        "NOMAD_ADDR": params["address"],
        "NOMAD_TOKEN": params["token"],
        "NOMAD_NAMESPACE": params["namespace"],
        "NOMAD_REGION": params["region"],
    }
    quiet = {"CONSUL_HTTP_TOKEN": "", "NOMAD_CLI_NO_COLOR": "1", "NOMAD_CLI_SHOW_HINTS": "0"}
    return {**{key: value for key, value in told.items() if value}, **quiet}


def runner(module: AnsibleModule) -> Runner:
    """Runs `nomad` as the module's options say."""
    executable = module.get_bin_path(module.params["executable"], required=True)
    told = environment(module.params)

    def run(arguments: Sequence[str]) -> Ran:
        return Ran(*module.run_command([executable, *arguments], environ_update=told))

    return run
