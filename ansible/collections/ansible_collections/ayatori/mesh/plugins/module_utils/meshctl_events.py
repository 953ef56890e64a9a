"""What `meshctl -o json` says, and what that means to a play.

Comes in: the lines of JSON, what else was printed, the exit code. Goes out: an `Ended`. Holds: an exit code that is not
known is a failure; a line that is not JSON is kept for the message; whoever reads the message of a failure learns what
happened, what was left, and what to do. Deliberately absent: running it, and deciding anything about a rollout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.ayatori.mesh.plugins.module_utils.rollout_options import Ended

# 0 done, 4 a person has to agree; the rest did not do what was asked.
_FINE = (0, 4)
_MEANING = {
    2: "meshctl was called wrongly: is it older than these playbooks?",
    3: "Nothing was changed, or it goes on when this is run again; see whether the addresses are right and reachable from here.",
    5: "Something was left that a person has to look at; `meshctl status` shows it.",
}


def read(rc: int, out: str, err: str, asked: str = "") -> Ended:
    """Judges one run; `asked` says who was asked, for when nobody answers. It changed something when it told Nomad something, or when a dry run would."""
    events, strays = _events(out)
    last = {event["event"]: event for event in events}
    result, plan = last.get("result", {}), last.get("plan", {})
    told = any(event["event"] == "told" for event in events)
    evidence = [_evidence(event) for event in events if event["event"] == "evidence"]
    failed = rc not in _FINE
    outcome = result.get("outcome") or ("failed" if failed else "unchanged")
    message = [result.get("message") or "\n".join(part for part in (err.strip(), strays) if part) or f"exit code {rc}"]
    if failed:
        message += [_MEANING.get(rc, ""), asked if rc == 3 else "", *evidence]
    return Ended(
        failed=failed,
        changed=bool(result.get("changes")) if outcome == "planned" else told,
        outcome=outcome,
        job=result.get("job") or plan.get("job") or "",
        version=result.get("version"),
        message="\n".join(part for part in message if part),
        diff="".join(f"{line}\n" for line in _difference({"ID": plan.get("job"), **(plan.get("diff") or {})}, 0)),
    )


def foresee(action: str, job: str, unfinished_only: bool, check: bool, rc: int, out: str, err: str) -> Ended | None:
    """What promoting or taking back comes to, from `meshctl status -o json`, where it need not or must not be begun."""

    def verdict(outcome: str, message: str, failed: bool = False, version: int | None = None) -> Ended:
        return Ended(failed, outcome == "planned", outcome, job, version, message, "")

    if unfinished_only and not job:
        return verdict("unchanged", "nothing was begun, so there is nothing to take back")
    if rc != 0:
        return verdict(
            "failed", "\n".join(part for part in (err.strip() or f"exit code {rc}", _MEANING.get(rc, "")) if part), True
        )
    try:
        status = json.loads(out)
    except ValueError:
        return verdict("failed", f"`meshctl status` did not answer with JSON: {out[:200]}", True)
    version, record, deployment = status["version"], status.get("deploy"), status.get("deployment") or {}
    stands = record is None and deployment.get("status") in (None, "successful")
    if action == "promote" and stands and not deployment.get("needs_promotion"):
        return verdict("unchanged", f"{job}: version {version} is promoted already", version=version)
    if action == "rollback" and unfinished_only and stands:
        return verdict("unchanged", f"{job}: nothing is under way and version {version} stands", version=version)
    if not check:
        return None
    shown = {"promote": f"would promote version {version}", "rollback": f"would take version {version} back"}
    return verdict("planned", f"{job}: {shown[action]}", version=version)


def _events(out: str) -> tuple[list[dict[str, Any]], str]:
    """The events, and the lines that are none."""
    events: list[dict[str, Any]] = []
    strays: list[str] = []
    for line in out.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if isinstance(event, dict) and "event" in event:
            events.append(event)
        else:
            strays.append(line)
    return events, "\n".join(strays).strip()


def _evidence(event: Mapping[str, Any]) -> str:
    """Why an instance failed: what happened to its tasks, and what they wrote last."""
    lines = [f"Allocation {str(event.get('instance'))[:8]} on {event.get('node')} {event.get('ailment')}:"]
    for task in event.get("tasks") or ():
        lines += [f"  {task.get('name')}: {told}" for told in task.get("events") or ()]
        lines += [f"  {task.get('name')} wrote: {line}" for line in task.get("log") or ()]
    return "\n".join(lines)


_MARKS = {"Added": "+", "Deleted": "-", "Edited": "+/-"}


def _difference(diff: Mapping[str, Any], depth: int) -> Iterator[str]:
    """Nomad's difference between two jobs as lines; what stays the same is left out."""
    mark = _MARKS.get(str(diff.get("Type")))
    if mark is None:
        return
    name = diff.get("ID") or diff.get("Name") or ""
    yield f"{'  ' * depth}{mark} {name}"
    for field in diff.get("Fields") or ():
        if field.get("Type") in _MARKS:
            yield f"{'  ' * (depth + 1)}{_MARKS[field['Type']]} {field['Name']}: {json.dumps(field.get('Old'))} => {json.dumps(field.get('New'))}"
    for part in ("Objects", "TaskGroups", "Tasks"):
        for inner in diff.get(part) or ():
            yield from _difference(inner, depth + 1)
