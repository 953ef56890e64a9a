"""How a rollout ends: the values, the version that it goes back to, and the sentences that people read.

Comes in: what Nomad holds. Goes out: text, and an older version. Holds: whoever reads a sentence learns which job, which version
and what to do next. Deliberately absent: asking Nomad, and waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import Allocation, Deployment, Job
from ansible_collections.ayatori.mesh.plugins.module_utils.rollout_options import Ended


class Refused(Exception):
    """Nothing was done, or what was done has been taken back; the text says which. `subject` is the job or the node."""

    def __init__(self, subject: str, text: str) -> None:
        super().__init__(f"{subject}: {text}")
        self.subject = subject


@dataclass(frozen=True)
class Patience:
    """How long to wait, on which clock, and how to pass the time between two looks. All in seconds."""

    limit: float
    now: Callable[[], float]
    pause: Callable[[], None]

    def until(self) -> Callable[[], bool]:
        """Starts the wait: the answer says whether there is time left."""
        end = self.now() + self.limit
        return lambda: self.now() < end


def done(outcome: str, changed: bool, job: str, version: int | None, message: str, diff: str = "") -> Ended:
    """What became of it, where it did not fail."""
    return Ended(False, changed, outcome, job, version, message, diff)


def story_of(allocation: Allocation) -> str:
    """An instance with its last events."""
    head = f"Allocation {allocation.id[:8]} on {allocation.node or 'no node'} ({allocation.client}):"
    return "\n".join([head, *(f"  {event}" for event in allocation.events[-6:])])


def held(job: Job, deployment: Deployment) -> str:
    """Who has the job, for whoever came second."""
    return (
        f"held by deployment {deployment.id} of version {job.version}, {job.registered}; it is"
        f" {deployment.progress()}. Nothing was done: wait for it, promote it or take it back."
    )


def went_back(back: Job, target: Job) -> str:
    """What runs since a version was taken back."""
    return f"taken back: version {back.version} (as version {target.version}) runs"


def no_target(versions: Sequence[Job], to_version: int | None) -> str:
    """Why there is nothing to go back to."""
    known = ", ".join(f"{version.version}{' (stable)' if version.stable else ''}" for version in versions)
    wanted = "no older version was ever stable" if to_version is None else f"Nomad knows no version {to_version}"
    return f"{wanted}, so there is nothing to go back to; known are {known}"


def target_of(registered: Job, versions: Sequence[Job], to_version: int | None) -> Job | None:
    """The version to go back to: the one that is named, else the newest stable one before what is registered first was."""
    if to_version is not None:
        return next((version for version in versions if version.version == to_version), None)
    same = [version.version for version in versions if version.content == registered.content]
    first = min([registered.version, *same])
    return next((version for version in versions if version.version < first and version.stable), None)
