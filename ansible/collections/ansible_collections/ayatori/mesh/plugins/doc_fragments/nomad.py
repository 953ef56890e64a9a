"""The options of every module that runs `nomad`, documented once; they are those of `nomad_process.CONNECTION`."""

from __future__ import annotations


class ModuleDocFragment:
    """Taken up by `extends_documentation_fragment: ayatori.mesh.nomad`."""

    DOCUMENTATION = r"""
options:
  address:
    description: Nomad's address; without it, C(NOMAD_ADDR) of the environment.
    type: str
  token:
    description: An ACL token; without it, C(NOMAD_TOKEN) of the environment.
    type: str
  namespace:
    description: The namespace of the job, also where its file names one.
    type: str
  region:
    description: The region of the job, also where its file names one.
    type: str
  executable:
    description: The C(nomad) to run.
    type: str
    default: nomad
"""
