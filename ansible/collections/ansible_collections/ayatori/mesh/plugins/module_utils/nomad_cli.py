"""Nomad's command line as typed questions and commands.

Comes in: the text and JSON that `nomad` prints. Goes out: frozen values. Holds: whatever Nomad refuses is a `NomadError`
that names the step and carries Nomad's own words; a job is only ever addressed by its whole id, although `nomad`
itself takes prefixes. Deliberately absent: decisions and waiting (nomad_rollout.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any


class NomadError(Exception):
    """A step that Nomad refused or that could not be asked for."""


@dataclass(frozen=True)
class Ran:
    """What one run of a program left."""

    rc: int
    out: str
    err: str

    def words(self) -> str:
        """What it said, errors first."""
        return "\n".join(part for part in (self.err.strip(), self.out.strip()) if part)


Runner = Callable[[Sequence[str]], Ran]


@dataclass(frozen=True)
class Plan:
    """A dry run of the scheduler: what registering a file would change."""

    job: str
    changed: bool
    diff: str
    index: int
    unplaceable: str


@dataclass(frozen=True)
class Job:
    """A job as it is registered: `registered` says when and by whom, `content` is what its author wrote."""

    id: str
    version: int
    kind: str
    count: int
    stable: bool
    stopped: bool
    launched_later: bool
    registered: str
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """One task group of a deployment."""

    name: str
    desired: int
    healthy: int
    unhealthy: int
    canaries: int
    placed_canaries: int
    promoted: bool
    auto_promote: bool


@dataclass(frozen=True)
class Deployment:
    """How far a version has been rolled out."""

    id: str
    version: int
    status: str
    description: str
    groups: tuple[Group, ...]

    def is_open(self) -> bool:
        """Whether Nomad still works on it."""
        return self.status in ("initializing", "pending", "running", "paused", "blocked", "unblocking")

    def has_canaries(self) -> bool:
        """Whether it began with canaries that are not promoted yet."""
        return any(group.canaries and not group.promoted for group in self.groups)

    def awaits_promotion(self) -> bool:
        """Whether every canary is healthy and only a promotion is missing."""
        waiting = [group for group in self.groups if group.canaries and not group.promoted and not group.auto_promote]
        return (
            self.status == "running"
            and bool(waiting)
            and all(g.canaries <= min(g.healthy, g.placed_canaries) for g in waiting)
        )

    def progress(self) -> str:
        """Healthy of desired instances, for people."""
        counts = ", ".join(
            f"{g.name} {g.healthy} of {g.canaries if g.canaries and not g.promoted else g.desired} healthy"
            for g in self.groups
        )
        return f"{self.status}: {counts}" if counts else self.status


@dataclass(frozen=True)
class Allocation:
    """One placed instance, with what happened to its tasks."""

    id: str
    version: int
    node: str
    desired: str
    client: str
    healthy: bool | None
    failed: bool
    events: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """Nomad's answer to a registration."""

    status: str
    description: str
    unplaceable: str


# What Nomad itself counts or computes; two versions that differ in nothing else are the same job.
_COUNTED = frozenset(
    "CreateIndex JobModifyIndex ModifyIndex Stable Status StatusDescription SubmitTime Version VersionTag Stop "
    "ConsulToken VaultToken NomadTokenID DispatchIdempotencyToken UI".split()
)


def parse_plan(ran: Ran) -> Plan:
    """Reads `nomad job plan -no-color`. The exit code says only whether instances come or go; the mark before the
    job's name says whether anything at all differs, which the exit code hides for tags, meta and checks."""
    job = re.search(r'^(\+/-|\+|-)?\s*Job: "(.*)"$', ran.out, re.MULTILINE)
    index = re.search(r"^Job Modify Index: (\d+)$", ran.out, re.MULTILINE)
    if ran.rc not in (0, 1) or job is None or index is None:
        raise NomadError(f"plan: {ran.words()}")
    diff, _, dry_run = ran.out.partition("Scheduler dry-run:")
    missing = re.search(
        r"^- WARNING: (Failed to place.*?)(?=\n\n?Job (?:Warnings|Modify)|\Z)", dry_run, re.MULTILINE | re.DOTALL
    )
    return Plan(job[2], job[1] is not None, diff.strip() + "\n", int(index[1]), missing[1].strip() if missing else "")


def parse_job(raw: Mapping[str, Any]) -> Job:
    """Reads a job of `nomad job inspect` or `nomad job history -json`."""
    return Job(
        id=raw["ID"],
        version=int(raw["Version"]),
        kind=raw["Type"],
        count=sum(int(group.get("Count") or 0) for group in raw.get("TaskGroups") or ()),
        stable=bool(raw.get("Stable")),
        stopped=bool(raw.get("Stop")),
        launched_later=bool(raw.get("Periodic") or raw.get("ParameterizedJob")),
        registered=_registered(raw),
        content={key: value for key, value in raw.items() if key not in _COUNTED},
    )


def _registered(raw: Mapping[str, Any]) -> str:
    """When it was registered, and by whom as far as Nomad knows: the accessor of the token."""
    time = datetime.fromtimestamp((raw.get("SubmitTime") or 0) // 1_000_000_000, timezone.utc)
    token = raw.get("NomadTokenID")
    return f"registered at {time:%Y-%m-%d %H:%M:%S} UTC" + (f" with the token of accessor {token}" if token else "")


def parse_deployment(raw: Mapping[str, Any]) -> Deployment:
    """Reads a deployment of `nomad job deployments -json`."""
    groups = tuple(
        Group(
            name=name,
            desired=int(group.get("DesiredTotal") or 0),
            healthy=int(group.get("HealthyAllocs") or 0),
            unhealthy=int(group.get("UnhealthyAllocs") or 0),
            canaries=int(group.get("DesiredCanaries") or 0),
            placed_canaries=len(group.get("PlacedCanaries") or ()),
            promoted=bool(group.get("Promoted")),
            auto_promote=bool(group.get("AutoPromote")),
        )
        for name, group in sorted((raw.get("TaskGroups") or {}).items())
    )
    return Deployment(raw["ID"], int(raw["JobVersion"]), raw["Status"], raw.get("StatusDescription") or "", groups)


def parse_allocation(raw: Mapping[str, Any]) -> Allocation:
    """Reads one instance of `nomad job allocs -json`."""
    health = raw.get("DeploymentStatus") or {}
    states: Mapping[str, Any] = raw.get("TaskStates") or {}
    return Allocation(
        id=raw["ID"],
        version=int(raw["JobVersion"]),
        node=raw.get("NodeName") or raw.get("NodeID") or "",
        desired=raw["DesiredStatus"],
        client=raw["ClientStatus"],
        healthy=health.get("Healthy"),
        failed=raw["ClientStatus"] in ("failed", "lost") or any(state.get("Failed") for state in states.values()),
        events=tuple(
            f"{task}: {event.get('Type')}: {event.get('DisplayMessage') or event.get('Message') or ''}".rstrip(": ")
            for task, state in sorted(states.items())
            for event in state.get("Events") or ()
        ),
    )


def parse_evaluation(raw: Mapping[str, Any]) -> Evaluation:
    """Reads `nomad eval status -json`."""
    lines = []
    for group, metrics in sorted((raw.get("FailedTGAllocs") or {}).items()):
        causes = {**(metrics.get("ConstraintFiltered") or {}), **(metrics.get("DimensionExhausted") or {})}
        why = ", ".join(f"{cause} ({count} nodes)" for cause, count in sorted(causes.items()))
        lines.append(f"group {group}: {why or 'no node takes it'}")
    return Evaluation(raw["Status"], raw.get("StatusDescription") or "", "; ".join(lines))


class Nomad:
    """The commands of `nomad` that a rollout needs. `has_changed`: it was told to change something, and took it."""

    def __init__(self, run: Runner) -> None:
        self._run = run
        self.has_changed = False

    def json(self, step: str, *arguments: str) -> Any:
        """The JSON that a command prints; `step` is what it is asked for."""
        ran = self._run(arguments)
        if ran.rc != 0:
            raise NomadError(f"{step}: {ran.words()}")
        try:
            return json.loads(ran.out)
        except ValueError as error:
            raise NomadError(f"{step}: not JSON: {error}: {ran.out[:200]}") from error

    def do(self, step: str, *arguments: str) -> str:
        """What a command prints that changes something; `step` is what it is to do."""
        ran = self._run(arguments)
        if ran.rc != 0:
            raise NomadError(f"{step}: {ran.words()}")
        self.has_changed = True
        return ran.out

    def plan(self, file: str, inputs: Sequence[str]) -> Plan:
        """What registering `file` would change; `inputs` are its -var and -var-file arguments."""
        return parse_plan(self._run(["job", "plan", "-no-color", *inputs, file]))

    def register(self, file: str, inputs: Sequence[str], index: int) -> str | None:
        """Registers `file` if the job is still what the plan saw. The evaluation's id; none for a job launched later."""
        out = self.do("register", "job", "run", "-detach", "-check-index", str(index), *inputs, file)
        found = re.search(r"^Evaluation ID: (\S+)", out, re.MULTILINE)
        return found[1] if found else None

    def job(self, job: str) -> Job | None:
        """The job of exactly this id."""
        ran = self._run(["job", "inspect", job])
        if ran.rc != 0:
            if re.search(r"No job\(s\) with prefix or I[Dd]|job not found", ran.words()):
                return None
            raise NomadError(f"read job {job}: {ran.words()}")
        raw = json.loads(ran.out)
        found = parse_job(raw.get("Job", raw))
        return found if found.id == job else None

    def versions(self, job: str) -> tuple[Job, ...]:
        """The job's versions that Nomad still knows, newest first."""
        raw = self.json(f"read the versions of {job}", "job", "history", "-json", job)
        return tuple(sorted((parse_job(version) for version in raw), key=lambda version: -version.version))

    def deployment(self, job: str, version: int) -> Deployment | None:
        """The deployment of a version of the job: the newest, where it was deployed several times."""
        raw = self.json(f"read the deployments of {job}", "job", "deployments", "-json", job) or ()
        mine = [one for one in raw if one["JobVersion"] == version]
        return parse_deployment(max(mine, key=lambda one: int(one["CreateIndex"]))) if mine else None

    def allocations(self, job: str) -> tuple[Allocation, ...]:
        """Every instance of the job that Nomad still knows."""
        raw = self.json(f"read the allocations of {job}", "job", "allocs", "-json", job)
        return tuple(parse_allocation(allocation) for allocation in raw or ())

    def evaluation(self, evaluation: str) -> Evaluation:
        """What became of an evaluation."""
        return parse_evaluation(self.json("read the evaluation", "eval", "status", "-json", evaluation))

    def promote(self, deployment: str) -> None:
        """Promotes all canaries."""
        self.do("promote", "deployment", "promote", "-detach", deployment)

    def fail(self, deployment: str) -> None:
        """Ends a deployment; Nomad goes back by itself where the job says auto_revert."""
        self.do("end the deployment", "deployment", "fail", "-detach", deployment)

    def revert(self, job: str, version: int) -> None:
        """Registers an older version anew."""
        self.do(f"go back to version {version}", "job", "revert", "-detach", job, str(version))

    def stop(self, job: str) -> None:
        """Ends all instances; Nomad keeps the job's versions."""
        self.do("stop", "job", "stop", "-detach", job)
