"""A real Consul and a Nomad on this machine, and playbooks run against them as a person would.

The Nomad is the one on PATH, else the repository's stand-in, which plays its agent and its command line; which of them is
printed. Jobs are plain processes (raw_exec, host network), so nothing of the mesh is needed. Everything ends with the fixture.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conftest import ANSIBLE, REPOSITORY, Need

OURS = REPOSITORY / "target/debug"
# prctl(2)
PR_SET_PDEATHSIG = 1
SECRET = "a-token-that-nobody-prints"


def free_port() -> int:
    """A port that is given to nobody else for about a minute. A connection that its listening side closed leaves it in
    TIME_WAIT, from which only those have it who ask for it by number, and with SO_REUSEADDR, as servers do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            listener.accept()[0].close()
    return int(address[1])


def until(seconds: float, what: str, look: Callable[[], Any]) -> Any:
    """Waits for a state; what it came to is the answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"after {seconds} s there is still not: {what}")


def get(url: str) -> Any:
    """What answers there as JSON; nothing while nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


@dataclass
class Played:
    """One run of a playbook: its exit code, what its last telling task returned, what a workflow's next node would be handed,
    and everything that was printed."""

    rc: int
    printed: str
    result: dict[str, Any] = field(default_factory=dict)
    changed: int = -1
    handed_on: dict[str, Any] = field(default_factory=dict)

    @property
    def message(self) -> str:
        return str(self.result.get("msg", ""))

    @property
    def told(self) -> str:
        """For a failed assertion: the message, or all of it where there is none."""
        return self.message or self.printed


@dataclass
class Cluster:
    """Where it is."""

    folder: Path
    nomad: str
    consul: str
    path: str

    def environment(self) -> dict[str, str]:
        quiet = {
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SHOW_CUSTOM_STATS": "1",
        }
        return {**os.environ, **quiet, "PATH": self.path, "NOMAD_ADDR": self.nomad, "CONSUL_HTTP_ADDR": self.consul}

    def start(self, playbook: str, *options: str, **variables: Any) -> subprocess.Popen[str]:
        """Begins a playbook."""
        command = ["ansible-playbook", f"playbooks/{playbook}.yml", "-e", json.dumps(variables), *options]
        return subprocess.Popen(
            command, cwd=ANSIBLE, env=self.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def play(self, playbook: str, *options: str, **variables: Any) -> Played:
        """Runs a playbook to its end."""
        return finish(self.start(playbook, *options, **variables))

    def cli(self, *arguments: str) -> str:
        """What `nomad` prints."""
        done = subprocess.run(
            ["nomad", *arguments], env=self.environment(), text=True, capture_output=True, check=True, timeout=60
        )
        return done.stdout

    def run(self, file: Path, **variables: str) -> None:
        """Deploys a file without a playbook, and promotes its canaries."""
        given = [word for name, value in variables.items() for word in ("-var", f"{name}={value}")]
        self.cli("job", "run", "-detach", *given, str(file))
        until(90, f"a successful deployment of {file}", lambda: self._is_deployed(file.name.removesuffix(".nomad.hcl")))

    def _is_deployed(self, job: str) -> bool:
        newest = json.loads(self.cli("job", "deployments", "-latest", "-json", job))
        if newest is None or newest["JobVersion"] != self.version(job):
            return False
        group = newest["TaskGroups"]["app"]
        if (
            newest["Status"] == "running"
            and 0 < group["DesiredCanaries"] <= group["HealthyAllocs"]
            and not group["Promoted"]
        ):
            self.cli("deployment", "promote", "-detach", newest["ID"])
        return bool(newest["Status"] == "successful")

    def end_deployment(self, job: str) -> None:
        """Ends what is under way, as a person would who sees no good in it."""
        newest = json.loads(self.cli("job", "deployments", "-latest", "-json", job))
        self.cli("deployment", "fail", "-detach", newest["ID"])

    def version(self, job: str) -> int:
        raw = json.loads(self.cli("job", "inspect", job))
        return int(raw.get("Job", raw)["Version"])

    def until_answers(self, job: str, words: set[str]) -> None:
        """Waits until the healthy instances of a service say these words: a check may miss its second on a busy machine."""
        until(20, f"{job} answers with {words}", lambda: self._answers(job) == words)

    def _answers(self, job: str) -> set[str]:
        """What the healthy instances of a service in Consul say when they are asked."""
        listed = get(f"{self.consul}/v1/health/service/{job}?passing") or []
        told = set()
        for entry in listed:
            service = entry["Service"]
            try:
                with urllib.request.urlopen(f"http://{service['Address']}:{service['Port']}/", timeout=2) as answer:
                    told.add(answer.read().decode().strip())
            except OSError:
                told.add("nothing")
        return told


def finish(process: subprocess.Popen[str]) -> Played:
    """Waits for a playbook. Its result is that of the last task that returned an outcome, or of the one that failed."""
    printed, _ = process.communicate(timeout=120)
    played = Played(process.returncode, printed)
    try:
        report = json.loads(printed[printed.index("{\n") : printed.rindex("}") + 1])
    except ValueError:
        return played
    played.changed = report["stats"]["localhost"]["changed"]
    played.handed_on = report["global_custom_stats"]
    for task in report["plays"][0]["tasks"]:
        result = task["hosts"].get("localhost", {})
        if "outcome" in result or "node_id" in result or result.get("failed"):
            played.result = result
    return played


def end_with_the_test() -> None:
    """In a child: to be killed when whoever started it is, however that ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def running(command: list[str], log: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=env,
            preexec_fn=end_with_the_test,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def nomad_on(folder: Path, need: Need) -> str:
    """A PATH with `nomad` and `meshctl` on it."""
    if not (OURS / "meshctl").exists():
        need.skip("ours", "there is no target/debug/meshctl; run `make build`")
    stand_in = OURS / "nomad-stand-in"
    binary = os.environ.get("AYATORI_NOMAD") or shutil.which("nomad") or stand_in
    if not Path(binary).exists():
        need.skip("ours", "there is no nomad on PATH and no target/debug/nomad-stand-in; run `make build`")
    (folder / "bin").mkdir()
    (folder / "bin/nomad").symlink_to(binary)
    return f"{folder / 'bin'}:{OURS}:{os.environ['PATH']}"


@contextmanager
def cluster(folder: Path, need: Need, nodes: int) -> Iterator[Cluster]:
    """Consul and Nomad, ready for jobs."""
    consul_binary = need.part("consul")
    path = nomad_on(folder, need)
    http, dns, grpc, serf_lan, serf_wan, server = (free_port() for _ in range(6))
    nomad_http, nomad_rpc, nomad_serf = (free_port() for _ in range(3))
    env = {**os.environ, "PATH": path}
    consul_command = [
        consul_binary, "agent", "-dev", "-bind=127.0.0.1", f"-http-port={http}", f"-dns-port={dns}", f"-grpc-port={grpc}",
        f"-serf-lan-port={serf_lan}", f"-serf-wan-port={serf_wan}", f"-server-port={server}",
    ]  # fmt: skip
    config = folder / "nomad.hcl"
    config.write_text(f"""
disable_update_check = true
bind_addr            = "127.0.0.1"
data_dir             = "{folder}/nomad"
ports {{
  http = {nomad_http}
  rpc  = {nomad_rpc}
  serf = {nomad_serf}
}}
consul {{
  address = "127.0.0.1:{http}"
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
""")
    is_stand_in = (folder / "bin/nomad").readlink().name == "nomad-stand-in"
    own = [f"-stand-in-nodes={nodes}"] if is_stand_in else []
    nomad_command = [str(folder / "bin/nomad"), "agent", "-dev", f"-config={config}", *own]
    place = Cluster(folder, f"http://127.0.0.1:{nomad_http}", f"http://127.0.0.1:{http}", path)
    with running(consul_command, folder / "consul.log", env):
        until(20, "a leader of Consul", lambda: get(f"{place.consul}/v1/status/leader"))
        with running(nomad_command, folder / "nomad.log", env):
            until(20, f"{nodes} nodes of Nomad", lambda: ready(place, nodes if is_stand_in else 1))
            print(f"nomad: {place.cli('version').splitlines()[0]}")
            yield place


def ready(place: Cluster, nodes: int) -> bool:
    found = get(f"{place.nomad}/v1/nodes") or []
    return len([node for node in found if node["Status"] == "ready"]) >= min(
        nodes, 1 if shutil.which("nomad") else nodes
    )
