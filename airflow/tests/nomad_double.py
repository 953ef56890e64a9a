"""A small HTTP server that speaks Nomad's shapes, as they were measured, and does what a test tells it.

State is set from outside (`end`, `lose`, `block` …); the server only answers: no scheduler, no programs.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

NODE = "node-1"
# The parameterized job of most tests.
JOB = "nightly-report"


@dataclass
class NomadDouble:
    """Jobs and allocations by id; every request is kept in `seen`."""

    token: str | None = None
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    allocations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    evaluations: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    logs: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    # Answered instead of the truth, one after the other.
    faults: list[tuple[int, str]] = field(default_factory=list)
    honours_filter: bool = True
    knows_filters: bool = True
    honours_token: bool = True
    index: int = 10
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.changed = threading.Condition()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One packet for head and body: two would wait for each other.
            wbufsize = -1

            def log_message(self, *_: Any) -> None:
                pass

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                split = urlsplit(self.path)
                params = dict(parse_qsl(split.query))
                token = self.headers.get("X-Nomad-Token")
                status, value = double.handle(self.command, split.path, params, body, token)
                data = value if isinstance(value, (bytes, memoryview)) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("X-Nomad-Index", str(double.index))
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                try:
                    self.wfile.write(data)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def change(self) -> None:
        with self.changed:
            self.index += 1
            self.changed.notify_all()

    # What tests do.

    def register(
        self, job: str, *, required: tuple[str, ...] = (), optional: tuple[str, ...] = (), payload: str = ""
    ) -> None:
        self.jobs[job] = {
            "ID": job,
            "Status": "running",
            "CreateIndex": self.index,
            "ParameterizedJob": {
                "Payload": payload,
                "MetaRequired": list(required) or None,
                "MetaOptional": list(optional) or None,
            },
            "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "main", "Lifecycle": None}]}],
        }
        self.change()

    def child(self, parent: str, token: str, *, is_placed: bool = True) -> str:
        self.change()
        job_id = f"{parent}/dispatch-{1790000000 + self.index}-{self.index:08x}"
        self.jobs[job_id] = {
            **self.jobs[parent],
            "ID": job_id,
            "ParentID": parent,
            "Status": "running" if is_placed else "pending",
            "Stop": False,
            "Dispatched": True,
            "DispatchIdempotencyToken": token,
            "CreateIndex": self.index,
        }
        self.evaluations[job_id] = [{"ID": "e", "Status": "complete", "ModifyIndex": self.index}]
        self.allocations[job_id] = [self.allocation()] if is_placed else []
        self.change()
        return job_id

    def allocation(self, status: str = "running", **more: Any) -> dict[str, Any]:
        started = {"Type": "Started", "DisplayMessage": "Task started by client", "Details": {}}
        return {
            "ID": f"{self.index:08x}-1111-2222-3333-444444444444",
            "TaskGroup": "g",
            "NodeName": NODE,
            "ClientStatus": status,
            "DesiredStatus": "run",
            "CreateIndex": self.index,
            "TaskStates": {"main": {"State": "running", "Failed": False, "Events": [started]}},
            **more,
        }

    def end(self, job: str, code: int = 0, *, oom: bool = False) -> None:
        """The program ends with this exit code."""
        details = {"exit_code": str(code), "signal": "0", "oom_killed": str(oom).lower()}
        event = {"Type": "Terminated", "DisplayMessage": f"Exit Code: {code}", "Details": details}
        for allocation in self.allocations[job]:
            task = allocation["TaskStates"]["main"]
            task.update(State="dead", Failed=code != 0)
            task["Events"].append(event)
            allocation["ClientStatus"] = "complete" if code == 0 else "failed"
        self.jobs[job]["Status"] = "dead"
        self.change()

    def block(self, job: str, **metrics: Any) -> None:
        """No node can take it."""
        self.jobs[job]["Status"] = "pending"
        self.evaluations[job] = [
            {"ID": "e", "Status": "complete", "ModifyIndex": 1, "FailedTGAllocs": {"g": metrics}},
            {"ID": "f", "Status": "blocked", "ModifyIndex": 2, "FailedTGAllocs": {"g": metrics}},
        ]
        self.change()

    def lose(self, job: str) -> None:
        """The node goes away; Nomad asks for a replacement and finds no place."""
        for allocation in self.allocations[job]:
            allocation.update(ClientStatus="lost", DesiredStatus="stop")
        self.block(job, NodesEvaluated=0)

    def stopped(self, job: str) -> None:
        self.jobs[job].update(Stop=True, Status="dead")
        for allocation in self.allocations[job]:
            if allocation["ClientStatus"] in ("pending", "running"):
                allocation.update(DesiredStatus="stop", ClientStatus="complete")
        self.change()

    def calls(self, method: str, part: str) -> list[tuple[str, str, dict[str, str], Any]]:
        return [one for one in self.seen if one[0] == method and part in one[1]]

    # What the server answers.

    def handle(self, method: str, path: str, params: dict[str, str], body: Any, token: str | None) -> tuple[int, Any]:
        # The server's thread decodes nothing: an id with an encoded slash is one part.
        parts = [unquote(part) for part in path.split("/")[2:]]
        self.seen.append((method, unquote(path), params, body))
        if self.faults:
            status, text = self.faults.pop(0)
            return status, text.encode()
        if parts == ["status", "leader"]:
            return 200, "127.0.0.1:4647"
        if self.token is not None and token != self.token:
            return 403, b"Permission denied" if token is None else b"ACL token not found"
        if "index" in params:
            self._block(int(params["index"]), params.get("wait", "5m"))
        if "filter" in params and not self.knows_filters:
            return 400, b"failed to read filter expression"
        if parts == ["jobs"]:
            return 200, self._list(params)
        if parts[:3] == ["client", "fs", "logs"]:
            return self._logs(parts[3], params)
        return self._job(method, parts, params, body)

    def _block(self, index: int, wait: str) -> None:
        seconds = float(wait.removesuffix("ms")) / 1000
        with self.changed:
            self.changed.wait_for(lambda: self.index > index, seconds)

    def _list(self, params: dict[str, str]) -> list[dict[str, Any]]:
        jobs = [job for name, job in sorted(self.jobs.items()) if name.startswith(params.get("prefix", ""))]
        if self.honours_filter and "filter" in params:
            wanted = re.findall(r'DispatchIdempotencyToken == "([^"]*)"', params["filter"])
            jobs = [job for job in jobs if job.get("DispatchIdempotencyToken") in wanted]
        return [{key: job.get(key) for key in ("ID", "ParentID", "Status")} for job in jobs]

    def _job(self, method: str, parts: list[str], params: dict[str, str], body: Any) -> tuple[int, Any]:
        job_id, rest = parts[1], parts[2:]
        if rest == ["dispatch"]:
            return self._dispatch(job_id, params, body)
        if rest == ["allocations"]:
            return 200, self.allocations.get(job_id, [])
        if rest == ["evaluations"]:
            return 200, self.evaluations.get(job_id, [])
        if job_id not in self.jobs:
            return 404, b"job not found"
        if method == "DELETE":
            self.stopped(job_id)
            return 200, {"EvalID": "s"}
        return 200, self.jobs[job_id]

    def _dispatch(self, parent: str, params: dict[str, str], body: Any) -> tuple[int, Any]:
        if parent not in self.jobs:
            return 500, b"parameterized job not found"
        token = params.get("idempotency_token", "")
        for job in self.jobs.values():
            if self.honours_token and token and job.get("DispatchIdempotencyToken") == token:
                return 200, {"DispatchedJobID": job["ID"], "EvalID": ""}
        child = self.child(parent, token)
        self.jobs[child].update(Meta=body["Meta"], Payload=body["Payload"])
        return 200, {"DispatchedJobID": child, "EvalID": "e"}

    def _logs(self, allocation: str, params: dict[str, str]) -> tuple[int, bytes | memoryview]:
        data = self.logs.get((allocation, params["task"], params["type"]))
        if data is None:
            return 404, b'failed to list entries: file "main.stdout" not found'
        offset = int(params.get("offset", "0"))
        # A view: the double holds a long log once.
        return 200, memoryview(data)[max(0, len(data) - offset) if params.get("origin") == "end" else offset :]


def wait_for(what: str, true: Any, seconds: float = 10.0) -> None:
    """A state that is awaited with a deadline."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)
