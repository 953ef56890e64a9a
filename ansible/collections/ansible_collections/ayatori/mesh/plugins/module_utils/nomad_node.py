"""A host emptied for its maintenance, and given back.

Comes in: a node's name or id. Goes out: an `Emptied`. Holds: exactly one node is meant, or nothing is done; a drain is over
when Nomad calls it over and no instance runs there any more. Deliberately absent: the clock and the pause (arguments).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_cli import Nomad
from ansible_collections.ayatori.mesh.plugins.module_utils.nomad_outcome import Patience, Refused


@dataclass(frozen=True)
class Node:
    """A client of Nomad. `last_drain`: draining, complete, canceled or nothing."""

    id: str
    name: str
    status: str
    draining: bool
    eligible: bool
    last_drain: str


@dataclass(frozen=True)
class Emptied:
    """What became of the node."""

    changed: bool
    node: Node
    message: str


def parse_node(raw: Mapping[str, Any]) -> Node:
    """Reads a node of `nomad node status -json`, of the list or alone."""
    return Node(
        id=raw["ID"],
        name=raw["Name"],
        status=raw["Status"],
        draining=bool(raw.get("Drain") or raw.get("DrainStrategy")),
        eligible=raw.get("SchedulingEligibility") == "eligible",
        last_drain=(raw.get("LastDrain") or {}).get("Status") or "",
    )


@dataclass(frozen=True)
class Hosts:
    """The two ways to change a node."""

    nomad: Nomad
    patience: Patience
    check: bool = False

    def drain(self, name: str, deadline_seconds: int, ignore_system: bool, message: str) -> Emptied:
        """Takes no more work, moves what runs, waits until nothing runs. What is left at the deadline is stopped."""
        node = self._find(name)
        left = self._running(node, ignore_system)
        if not node.eligible and not node.draining and not left:
            return Emptied(False, node, f"{node.name}: nothing runs there and nothing is placed there")
        if self.check:
            return Emptied(True, node, f"{node.name}: would move {_listed(left)}")
        if not node.draining:
            self.nomad.do(f"close {node.name} to new work", "node", "eligibility", "-disable", node.id)
            options = ["-ignore-system"] if ignore_system else []
            told = ["-enable", "-detach", "-yes", "-deadline", f"{deadline_seconds}s", "-m", message, *options]
            self.nomad.do(f"drain {node.name}", "node", "drain", *told, node.id)
        return self._await_empty(node, ignore_system)

    def give_back(self, name: str) -> Emptied:
        """Ends a drain that is under way and lets Nomad place work there again."""
        node = self._find(name)
        if node.eligible and not node.draining:
            return Emptied(False, node, f"{node.name}: takes work already")
        if self.check:
            return Emptied(True, node, f"{node.name}: would take work again")
        if node.draining:
            self.nomad.do(f"end the drain of {node.name}", "node", "drain", "-disable", "-yes", node.id)
        else:
            self.nomad.do(f"open {node.name}", "node", "eligibility", "-enable", node.id)
        return Emptied(True, self._find(node.id), f"{node.name}: takes work again")

    def _find(self, name: str) -> Node:
        nodes = [parse_node(raw) for raw in self.nomad.json("list the nodes", "node", "status", "-json") or ()]
        found = [node for node in nodes if name in (node.id, node.name)]
        if len(found) == 1:
            return parse_node(self.nomad.json(f"read {name}", "node", "status", "-json", found[0].id))
        known = ", ".join(f"{node.name} ({node.id[:8]}, {node.status})" for node in nodes) or "none"
        raise Refused(name, f"{len(found) or 'no'} nodes have this name or id, so nothing was done; known are {known}")

    def _running(self, node: Node, ignore_system: bool) -> list[str]:
        """The instances there that a drain is to move, as people name them."""
        listed = self.nomad.json("list the allocations", "alloc", "status", "-json", "-namespace", "*") or ()
        return [
            f"{raw.get('Name')} ({raw['ID'][:8]})"
            for raw in listed
            if raw.get("NodeID") == node.id
            and raw["ClientStatus"] in ("pending", "running", "unknown")
            and not (ignore_system and raw.get("JobType") in ("system", "sysbatch"))
        ]

    def _await_empty(self, node: Node, ignore_system: bool) -> Emptied:
        time_left = self.patience.until()
        left: list[str] = []
        while time_left():
            now = self._find(node.id)
            left = self._running(now, ignore_system)
            if not now.draining and now.eligible:
                raise Refused(node.name, f"somebody ended the drain; {_listed(left)} run there")
            if not now.draining and not left:
                return Emptied(True, now, f"{node.name}: is empty")
            self.patience.pause()
        raise Refused(
            node.name,
            f"not empty after {self.patience.limit:g} s: {_listed(left)} still there. It stays closed to new"
            f" work; look with `nomad node status {node.id[:8]}`, or give it back with node_drain_state=eligible.",
        )


def _listed(left: list[str]) -> str:
    shown = ", ".join(left[:8]) + (f" and {len(left) - 8} more" if len(left) > 8 else "")
    return shown or "nothing"
