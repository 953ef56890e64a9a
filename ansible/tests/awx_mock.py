"""A small server of AWX's /api/v2: enough for the modules of awx.awx to create, compare and link what they are told to.

Comes in: HTTP. Goes out: what was created, by kind, and every changing call. It answers in the shapes that AWX documents: lists
with count and results, items with id, url, type, related and summary_fields, 404 for what is not there, `$encrypted$` for
secrets, errors by field. Deliberately absent: running anything, permissions, and whatever else AWX does. It is not AWX.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlparse

KINDS = {
    "organizations": "organization",
    "credential_types": "credential_type",
    "credentials": "credential",
    "execution_environments": "execution_environment",
    "projects": "project",
    "project_updates": "project_update",
    "inventories": "inventory",
    "job_templates": "job_template",
    "workflow_job_templates": "workflow_job_template",
    "workflow_job_template_nodes": "workflow_job_template_node",
    "workflow_approval_templates": "workflow_approval_template",
    "schedules": "schedule",
    "teams": "team",
}
UNIFIED = ("projects", "job_templates", "workflow_job_templates", "workflow_approval_templates")
# What can be linked to an item of each kind.
LINKS = {
    "job_templates": ("credentials",),
    "workflow_job_template_nodes": ("success_nodes", "failure_nodes", "always_nodes", "credentials"),
    "schedules": ("credentials",),
    "roles": ("teams",),
}
ROLES = {"job_templates": ("execute",), "workflow_job_templates": ("execute", "approval")}
QUESTION_TYPES = ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")
Answer = tuple[int, Any]


def survey_problem(survey: dict[str, Any]) -> str | None:
    """What AWX would refuse about a survey."""
    if not {"name", "description", "spec"} <= survey.keys():
        return "a survey has name, description and spec"
    seen: set[str] = set()
    for question in survey["spec"]:
        if not {"question_name", "variable", "type", "required"} <= question.keys():
            return f"a question lacks a key: {question}"
        if question["type"] not in QUESTION_TYPES or question["variable"] in seen:
            return f"type or variable of {question['variable']}"
        choices, default = question.get("choices"), question.get("default")
        if question["type"] == "multiplechoice" and (not choices or (default and default not in choices)):
            return f"choices of {question['variable']}"
        if question["type"] == "integer" and not isinstance(default, int):
            return f"default of {question['variable']}"
        seen.add(question["variable"])
    return None


@dataclass
class Awx:
    """All that it holds. `writes` are the calls that changed something: method, path, body."""

    items: dict[str, dict[int, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    links: dict[tuple[str, int, str], list[int]] = field(default_factory=dict)
    surveys: dict[tuple[str, int], dict[str, Any]] = field(default_factory=dict)
    writes: list[tuple[str, str, Any]] = field(default_factory=list)
    last: int = 0

    def add(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        self.last += 1
        url = f"/api/v2/{kind}/{self.last}/"
        item = {"id": self.last, "type": KINDS[kind], "url": url, "related": {}, "summary_fields": {}, **body}
        if kind in ("job_templates", "workflow_job_templates"):
            item["related"]["survey_spec"] = f"{url}survey_spec/"
        for role in ROLES.get(kind, ()):
            self.last += 1
            item["summary_fields"].setdefault("object_roles", {})[f"{role}_role"] = {"id": self.last}
        if kind == "projects":
            update = self.add("project_updates", {"status": "successful"})
            item["summary_fields"]["current_update"] = {"id": update["id"], "status": "pending"}
            item["scm_revision"] = ""
        self.items[kind][item["id"]] = item
        return item

    def named(self, kind: str) -> dict[str, dict[str, Any]]:
        """The items of a kind by name, or identifier."""
        return {item.get("name", item.get("identifier")): item for item in self.items[kind].values()}

    def may(self, kind: str, name: str, role: str) -> list[str]:
        """The teams that have a role of an item."""
        number = self.named(kind)[name]["summary_fields"]["object_roles"][f"{role}_role"]["id"]
        return [self.items["teams"][team]["name"] for team in self.links.get(("roles", number, "teams"), [])]

    def unanswered(self, schedule: dict[str, Any]) -> list[str]:
        """The questions that AWX would not let a schedule leave open: the required ones, those with a default too."""
        spec = self.surveys[("job_templates", schedule["unified_job_template"])]["spec"]
        required = [question["variable"] for question in spec if question["required"]]
        return [variable for variable in required if variable not in schedule.get("extra_data", {})]

    def shown(self, item: dict[str, Any]) -> dict[str, Any]:
        """An item as the API shows it: secrets are not."""
        if item["type"] != "credential" or "inputs" not in item:
            return item
        kind = self.items["credential_types"][item["credential_type"]]
        secret = {one["id"] for one in kind["inputs"]["fields"] if one.get("secret")}
        return {**item, "inputs": {k: "$encrypted$" if k in secret else v for k, v in item["inputs"].items()}}

    def list(self, kinds: tuple[str, ...], query: dict[str, str]) -> Answer:
        wanted = {k: v for k, v in query.items() if k not in ("page_size", "order_by")}
        found = [
            self.shown(item)
            for kind in kinds
            for item in self.items[kind].values()
            if all(str(item.get(key)) == value for key, value in wanted.items())
        ]
        return 200, {"count": len(found), "next": None, "previous": None, "results": found}

    def get(self, path: list[str], query: dict[str, str]) -> Answer:
        match path:
            case ["ping"]:
                return 200, {"version": "24.6.1", "active_node": "mock"}
            case ["unified_job_templates"]:
                return self.list(UNIFIED, query)
            case [kind] if kind in KINDS:
                return self.list((kind,), query)
            case [kind, number] if kind in KINDS and int(number) in self.items[kind]:
                return 200, self.shown(self.items[kind][int(number)])
            case [kind, number, "survey_spec"]:
                return 200, self.surveys.get((kind, int(number)), {})
            case [kind, number, link] if link in LINKS.get(kind, ()):
                linked = [{"id": one} for one in self.links.get((kind, int(number), link), [])]
                return 200, {"count": len(linked), "next": None, "previous": None, "results": linked}
        return 404, {"detail": "Not found."}

    def post(self, path: list[str], body: dict[str, Any]) -> Answer:
        match path:
            case ["workflow_job_template_nodes", number, "create_approval_template"]:
                approval = self.add("workflow_approval_templates", body)
                node = self.items["workflow_job_template_nodes"][int(number)]
                node["unified_job_template"] = approval["id"]
                node["related"]["unified_job_template"] = approval["url"]
                return 201, approval
            case [kind] if kind in KINDS:
                if kind != "workflow_job_template_nodes" and body.get("name") in self.named(kind):
                    return 400, {"__all__": [f"{kind} with this name already exists."]}
                if kind == "schedules" and (missing := self.unanswered(body)):
                    return 400, {"variables_needed_to_start": [f"'{one}' value missing" for one in missing]}
                return 201, self.shown(self.add(kind, body))
            case [kind, number, "survey_spec"]:
                problem = survey_problem(body)
                if problem:
                    return 400, {"error": problem}
                self.surveys[(kind, int(number))] = body
                return 200, {}
            case [kind, number, link] if link in LINKS.get(kind, ()):
                linked = self.links.setdefault((kind, int(number), link), [])
                if body.get("disassociate"):
                    linked.remove(body["id"])
                else:
                    linked.append(body["id"])
                return 204, None
        return 404, {"detail": "Not found."}

    def patch(self, path: list[str], body: dict[str, Any]) -> Answer:
        kind, number = path
        item = self.items[kind][int(number)]
        item.update(body)
        return 200, self.shown(item)


class Handler(BaseHTTPRequestHandler):
    """One request: the token first, as AWX does."""

    awx: Awx
    token: str
    lock: threading.Lock

    def answer(self) -> None:
        url = urlparse(self.path)
        parts = [part for part in url.path.removeprefix("/api/v2").split("/") if part]
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        with self.lock:
            if self.headers.get("Authorization") != f"Bearer {self.token}" and parts != ["ping"]:
                status, reply = 401, {"detail": "Authentication credentials were not provided."}
            elif self.command == "GET":
                status, reply = self.awx.get(parts, dict(parse_qsl(url.query)))
            else:
                self.awx.writes.append((self.command, url.path, body))
                status, reply = (self.awx.post if self.command == "POST" else self.awx.patch)(parts, body)
            text = b"" if reply is None else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-API-Product-Name", "AWX")
        self.send_header("X-API-Product-Version", "24.6.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *words: Any) -> None:
        """Quiet."""


def serve(token: str) -> tuple[Awx, ThreadingHTTPServer]:
    """Starts it on a port that the kernel chooses; the caller shuts it down."""
    awx = Awx()
    handler = type("Bound", (Handler,), {"awx": awx, "token": token, "lock": threading.Lock()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return awx, server
