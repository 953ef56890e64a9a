"""The Nomad of the end-to-end tests: the `nomad` on PATH, else the stand-in; and a way to it that can be cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from airflow_lab import free_port, kill_group, until

if TYPE_CHECKING:
    from collections.abc import Iterator

# Its programs have ended by then.
STOPPED_WITHIN = 5
ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "target" / "debug" / "nomad-stand-in"
# Programs as they are, on this host; ended with the signal that shells can trap.
CONFIG = """
disable_update_check = true
bind_addr            = "127.0.0.1"
ports {{
  http = {http}
  rpc  = {rpc}
  serf = {serf}
}}
client {{
  options {{
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }}
}}
plugin "raw_exec" {{
  config {{
    enabled = true
  }}
}}
"""


def program() -> Path | None:
    """Which Nomad there is."""
    real = shutil.which("nomad")
    return Path(real) if real else STAND_IN if STAND_IN.exists() else None


def batch_job(job: str, **more: Any) -> dict[str, Any]:
    """A parameterized job that runs the shell script in its meta, once."""
    task = {
        "Name": "main",
        "Driver": "raw_exec",
        "Config": {"command": "/bin/sh", "args": ["-c", 'eval "$NOMAD_META_script"']},
        "KillSignal": "SIGTERM",
        "Resources": {"CPU": 20, "MemoryMB": 20},
    }
    group = {
        "Name": "batch",
        "Count": 1,
        "RestartPolicy": {"Attempts": 0, "Mode": "fail", "Interval": 86400 * 10**9, "Delay": 10**9},
        "ReschedulePolicy": {"Attempts": 0, "Unlimited": False},
        "Tasks": [task],
    }
    return {
        "ID": job,
        "Name": job,
        "Type": "batch",
        "Datacenters": ["dc1"],
        "ParameterizedJob": {
            "Payload": "optional",
            "MetaRequired": ["script"],
            "MetaOptional": ["airflow_dag", "airflow_try"],
        },
        "TaskGroups": [group],
        **more,
    }


class Nomad:
    """An agent that is server and client."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self.folder, self.port = folder, free_port()
        ports = {"http": self.port, "rpc": free_port(), "serf": free_port()}
        (folder / "nomad.hcl").write_text(CONFIG.format(**ports))
        link = folder / "nomad"
        link.symlink_to(binary)
        with (folder / "nomad.log").open("wb") as log:
            self.process = subprocess.Popen(
                [link, "agent", "-dev", f"-config={folder / 'nomad.hcl'}"],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={key: value for key, value in os.environ.items() if key != "AWS_CA_BUNDLE"},
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/v1", timeout=30, trust_env=False)
        until("Nomad has a node", self._is_ready, 90)

    def _is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"nomad ended: {(self.folder / 'nomad.log').read_text()[-2000:]}")
        try:
            nodes = self.client.get("/nodes")
        except httpx.TransportError:
            return False
        return nodes.status_code == 200 and any(node["Status"] == "ready" for node in nodes.json())

    def register(self, job: dict[str, Any]) -> None:
        """As `nomad job run` does."""
        self.client.post("/jobs", json={"Job": job}).raise_for_status()

    def children(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Batches whose token begins like this, in the order in which they were dispatched."""
        jobs = []
        for stub in self.client.get("/jobs", params={"prefix": "e2e-batch/dispatch-"}).json():
            job = self.client.get(f"/job/{stub['ID'].replace('/', '%2F')}").json()
            if (job.get("DispatchIdempotencyToken") or "").startswith(prefix):
                jobs.append(job)
        yield from sorted(jobs, key=lambda job: int(job["CreateIndex"]))

    def stop(self) -> None:
        """Ends the agent and what it runs."""
        self.client.close()
        kill_group(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            kill_group(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


class Way:
    """A way to a port of this host, which can be cut: then nobody answers, and who is connected is cut off."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = free_port()
        self.mend()

    def mend(self) -> None:
        """Lets through."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuses connections, and ends those that are there."""
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        with self._lock:
            for one in self._open:
                _close(one)
            self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        _close(one)
        _close(other)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
