"""A version of a job, rolled out, promoted or taken back with Nomad's command line alone.

Comes in: what is wanted. Goes out: an `Ended`, or `Refused` with the sentence that a person needs. Holds: nothing is
registered over a rollout that somebody else has under way, nor over a job that changed since it was planned; whatever ends
badly has been taken back, or the message says in which state it was left and what to do next. Deliberately absent: the
clock and the pause between two looks (arguments), Nomad's words (nomad_cli.py), the mesh's own gate (`meshctl deploy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import (
    Allocation,
    Deployment,
    Job,
    Nomad,
    NomadError,
    Plan,
)
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_outcome import (
    Patience,
    Refused,
    done,
    held,
    no_target,
    story_of,
    target_of,
    went_back,
)
from ansible_collections.ayatori.mesh.plugins.module_utils.rollout_options import Ended


@dataclass(frozen=True)
class Rollout:
    """The ways to change a job. `gate`: `auto` promotes healthy canaries, `manual` leaves that to a person."""

    nomad: Nomad
    patience: Patience
    gate: str = "auto"
    check: bool = False

    def deploy(self, file: str, inputs: Sequence[str]) -> Ended:
        """Registers `file` and waits until all of it is healthy."""
        plan = self.nomad.plan(file, inputs)
        try:
            return self._deploy(plan, file, inputs)
        except NomadError as error:
            # From here on the job's name is known, and whoever takes it back needs it.
            raise Refused(plan.job, str(error)) from error

    def _deploy(self, plan: Plan, file: str, inputs: Sequence[str]) -> Ended:
        before = self.nomad.job(plan.job)
        if before is None and plan.index:
            raise Refused(
                plan.job,
                "Nomad has this job, but not in the namespace that is asked. Where a file names its namespace, name the same"
                " with service_deploy_namespace. Nothing was done.",
            )
        current = self._deployment_of(before) if before else None
        if before and current and current.is_open():
            if not plan.changed and current.awaits_promotion():
                return self._promoted_or_waiting(current, plan.job, changed=False)
            raise Refused(plan.job, held(before, current))
        if current and current.status == "failed" and not plan.changed:
            raise Refused(
                plan.job,
                f"this file is version {current.version}, whose deployment {current.id[:8]} failed"
                f" ({current.description}). Mend the file, or go back with the rollback playbook.",
            )
        if plan.unplaceable:
            raise Refused(plan.job, f"no room for this version, so it was not registered. {plan.unplaceable}")
        runs = before.version if before else None
        if not plan.changed:
            return done("unchanged", False, plan.job, runs, f"{plan.job}: nothing to change")
        if self.check:
            return done("planned", True, plan.job, runs, f"{plan.job}: would change", plan.diff)
        return replace(self._register(plan, file, inputs), diff=plan.diff)

    def promote(self, job: str) -> Ended:
        """Promotes the canaries of the job's open deployment and waits for the rest."""
        registered = self._job(job)
        version, deployment = registered.version, self._deployment_of(registered)
        if deployment is None:
            raise Refused(job, f"version {version} has no deployment, so there is nothing to promote")
        if deployment.status == "successful":
            return done("unchanged", False, job, version, f"{job}: version {version} is promoted already")
        if not deployment.is_open():
            raise Refused(
                job,
                f"the deployment of version {version} is {deployment.status} ({deployment.description}):"
                " deploy again",
            )
        if deployment.has_canaries() and not deployment.awaits_promotion():
            raise Refused(
                job,
                f"the canaries of version {version} are not healthy yet ({deployment.progress()})."
                f"{self._events(registered)}",
            )
        if self.check:
            return done("planned", True, job, version, f"{job}: would promote version {version}")
        if deployment.awaits_promotion():
            self._promote(deployment)
        return self._follow(registered, None)

    def rollback(self, job: str, to_version: int | None, unfinished_only: bool) -> Ended:
        """Ends what is under way, or goes back to `to_version`, or to the newest stable version before what runs."""
        if unfinished_only and not job:
            return done("unchanged", False, job, None, "nothing was begun, so there is nothing to take back")
        registered = self._job(job)
        current = self._deployment_of(registered)
        if unfinished_only and (current is None or current.status == "successful"):
            message = f"{job}: nothing is under way and version {registered.version} stands"
            return done("unchanged", False, job, registered.version, message)
        versions = self.nomad.versions(job)
        target = target_of(registered, versions, to_version)
        if target is None:
            raise Refused(job, no_target(versions, to_version))
        under_way = current is not None and current.is_open()
        if target.content == registered.content and not registered.stopped and not under_way:
            message = f"{job}: what runs is version {target.version} already"
            return done("unchanged", False, job, registered.version, message)
        diff = f"{job}: version {registered.version} -> content of version {target.version}\n"
        if self.check:
            message = f"{job}: would go back to version {target.version}"
            return done("planned", True, job, registered.version, message, diff)
        back = self._go_back(registered, current, target)
        return done("reverted", True, job, back.version, f"{job}: {went_back(back, target)}", diff)

    # The steps of the three

    def _job(self, job: str) -> Job:
        found = self.nomad.job(job)
        if found is None:
            raise Refused(job, "Nomad knows no job of exactly this id; look with `nomad job status`")
        return found

    def _deployment_of(self, registered: Job) -> Deployment | None:
        """The deployment of the registered version; it may come a moment later, or never."""
        return self.nomad.deployment(registered.id, registered.version)

    def _register(self, plan: Plan, file: str, inputs: Sequence[str]) -> Ended:
        try:
            evaluation = self.nomad.register(file, inputs, plan.index)
        except NomadError as error:
            if "Enforcing job modify index" in str(error):
                raise Refused(plan.job, self._overtaken(plan.job, str(error))) from error
            raise
        registered = self._job(plan.job)
        if evaluation is None or registered.launched_later:
            message = f"{plan.job}: version {registered.version} is registered; Nomad launches it later"
            return done("deployed", True, plan.job, registered.version, message)
        return self._follow(registered, evaluation)

    def _overtaken(self, job: str, words: str) -> str:
        """Who registered the job between the plan and the registration."""
        registered = self.nomad.job(job)
        current = self._deployment_of(registered) if registered else None
        if registered and current and current.is_open():
            return held(registered, current)
        version = f" version {registered.version}" if registered else ""
        return (
            f"somebody registered{version} since this one was planned, so nothing was done:"
            f" look at it and deploy again. {words}"
        )

    def _promoted_or_waiting(self, deployment: Deployment, job: str, changed: bool) -> Ended:
        if self.gate == "auto" and not self.check:
            self._promote(deployment)
            return self._follow(self._job(job), None)
        message = (
            f"{job}: the canaries of version {deployment.version} are healthy and wait to be promoted or taken back"
        )
        return done("awaiting_promotion", changed, job, deployment.version, message)

    def _promote(self, deployment: Deployment) -> None:
        try:
            self.nomad.promote(deployment.id)
        except NomadError as error:
            # The sum of healthy instances holds those that were updated in place, too; Nomad counts canaries alone.
            if "healthy allocations" not in str(error):
                raise

    def _follow(self, registered: Job, evaluation: str | None) -> Ended:
        """Waits for a registered version; a bad end is taken back."""
        job, version, current = registered.id, registered.version, None
        time_left = self.patience.until()
        while time_left():
            current = self._deployment_of(registered)
            if current and current.awaits_promotion():
                if self.gate == "manual":
                    return self._promoted_or_waiting(current, job, changed=True)
                self._promote(current)
            elif current and current.status == "successful":
                return done("deployed", True, job, version, f"{job}: version {version} is deployed")
            elif current and not current.is_open():
                raise Refused(job, self._taken_back(registered, current, current.description or current.status))
            elif current is None and evaluation and self._settled(registered, evaluation):
                return done("deployed", True, job, version, f"{job}: version {version} is running")
            self.patience.pause()
        progress = f"; {current.progress()}" if current else ""
        unplaceable = self.nomad.evaluation(evaluation).unplaceable if evaluation else ""
        progress += f"; no room: {unplaceable}" if unplaceable else ""
        raise Refused(
            job, self._taken_back(registered, current, f"not healthy after {self.patience.limit:g} s{progress}")
        )

    def _settled(self, registered: Job, evaluation: str) -> bool:
        """Whether a version without a deployment (batch, system, max_parallel = 0) runs everywhere it should."""
        answer = self.nomad.evaluation(evaluation)
        if answer.status in ("failed", "canceled"):
            raise Refused(registered.id, f"version {registered.version} was not scheduled: {answer.description}")
        if answer.status != "complete" or self._deployment_of(registered):
            return False
        placed = [a for a in self._allocations(registered) if a.desired == "run"]
        if any(allocation.client in ("failed", "lost") for allocation in placed):
            raise Refused(
                registered.id,
                f"version {registered.version} fails and is still registered: jobs of this kind have"
                f" no deployment to take back. Go back with the rollback playbook.{self._events(registered)}",
            )
        if registered.kind not in ("system", "sysbatch") and len(placed) < registered.count:
            return False
        return all(allocation.client in ("running", "complete") for allocation in placed)

    def _taken_back(self, registered: Job, current: Deployment | None, why: str) -> str:
        """Takes a bad version back and says how that ended."""
        job, events = registered.id, self._events(registered)
        told = f"version {registered.version} failed: {why}."
        target = target_of(registered, self.nomad.versions(job), None)
        if target is None:
            self.nomad.stop(job)
            return f"{told} No older version was ever stable, so the job was stopped.{events}"
        try:
            back = self._go_back(registered, current, target)
        except (Refused, NomadError) as error:
            return f"{told} Going back did not end well either: {error} Look at `nomad job status {job}`.{events}"
        return f"{told} It was {went_back(back, target)}.{events}"

    def _go_back(self, registered: Job, current: Deployment | None, target: Job) -> Job:
        """Ends an open deployment, then waits for Nomad's own revert or asks for one. The version that runs in the end."""
        if current and current.is_open():
            self.nomad.fail(current.id)
        time_left, asked = self.patience.until(), False
        while time_left():
            now = self._job(registered.id)
            if now.version != registered.version:
                if self._runs_again(now, target):
                    return now
            elif not asked and not self._reverts_itself(registered):
                self.nomad.revert(registered.id, target.version)
                asked = True
            self.patience.pause()
        raise Refused(registered.id, f"version {target.version} was not healthy again after {self.patience.limit:g} s.")

    def _reverts_itself(self, registered: Job) -> bool:
        """Whether Nomad has ended the deployment of a version and said that it goes back by itself (auto_revert)."""
        ended = self._deployment_of(registered)
        return ended is not None and ended.status == "failed" and "rolling back" in ended.description

    def _runs_again(self, now: Job, target: Job) -> bool:
        """Whether the version that was registered to go back is healthy."""
        deployment = self._deployment_of(now)
        if deployment is None:
            return now.kind != "service"
        if deployment.awaits_promotion():
            # The older version's own canaries: it has run before, so nobody is asked again.
            self._promote(deployment)
        elif deployment.status != "successful" and not deployment.is_open():
            raise Refused(
                now.id,
                f"version {now.version} (as version {target.version}) is {deployment.status}: {deployment.description}."
                f"{self._events(now)}",
            )
        return deployment.status == "successful"

    def _allocations(self, registered: Job) -> list[Allocation]:
        return [a for a in self.nomad.allocations(registered.id) if a.version == registered.version]

    def _events(self, registered: Job) -> str:
        """What happened to the instances of a version that are not well, for the end of a message."""
        unwell = [a for a in self._allocations(registered) if a.failed or a.healthy is False or a.client == "pending"]
        return "".join(f"\n{story_of(allocation)}" for allocation in unwell[:3])
