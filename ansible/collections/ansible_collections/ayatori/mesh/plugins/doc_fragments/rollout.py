"""The options of every module that rolls a job out, documented once; they are those of `rollout_options.ROLLOUT`."""

from __future__ import annotations


class ModuleDocFragment:
    """Taken up by `extends_documentation_fragment: ayatori.mesh.rollout`."""

    DOCUMENTATION = r"""
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
    description: The version to go back to; -1 is the newest one before what runs that was deployed well.
    type: int
    default: -1
  unfinished_only:
    description: Take back only a rollout that is under way or has failed; what stands stays.
    type: bool
    default: false
  gate:
    description: C(auto) goes on when canaries are healthy and who else is asked agrees; C(manual) ends then and leaves that to a person.
    type: str
    choices: [auto, manual]
    default: auto
  timeout_seconds:
    description: How long a version may take to become healthy, and how long going back may take.
    type: int
    default: 900
attributes:
  check_mode:
    description: Plans and changes nothing.
    support: full
  diff_mode:
    description: Shows what would change in the job.
    support: full
"""
