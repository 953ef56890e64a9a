"""Debian machines that boot in systemd-nspawn, with a network between them and no other.

Each has the tree that scripts/setup made below an overlay in memory, so it is bare at each boot, and a network of its own; in
that of the first is a bridge to which all belong. Ansible comes over SSH as to any host: what carries it is `sshd -i`,
started inside by nsenter, so that no port is opened. Needs root.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

BOOT_S = 60
# PAM would wait for answers of name servers and of a login manager that are not there.
SSHD = "sh -c 'mkdir -p /run/sshd && exec /usr/sbin/sshd -i -o UsePAM=no'"


@dataclass(eq=False)
class Machine:
    name: str
    address: str
    init: int
    nspawn: subprocess.Popen
    cgroups: list[Path]

    def run(self, *command: str, check: bool = True) -> str:
        """What a command prints; it must succeed unless `check=False`."""
        inside = ["nsenter", "-t", str(self.init), "-a", "--", *command]
        done = subprocess.run(inside, text=True, capture_output=True)
        assert done.returncode == 0 or not check, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done.stdout

    def ip(self, *words: str) -> None:
        """iproute2 of this machine, in the network of that one."""
        command = ["nsenter", "-t", str(self.init), "-n", "ip", *words]
        done = subprocess.run(command, text=True, capture_output=True)
        assert done.returncode == 0, f"{self.name}: {words}: {done.stderr}"

    def connection(self, key: Path) -> dict[str, str]:
        """Variables of Ansible's inventory."""
        options = {
            "ProxyCommand": f"nsenter -t {self.init} -a {SSHD}",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "ControlPersist": "5s",
        }
        words = " ".join(f'-o {name}="{value}"' for name, value in options.items())
        return {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": words,
        }


@dataclass
class Site:
    """Machines that reach each other; leaving it ends them."""

    folder: Path
    tree: Path
    names: list[str]
    machines: list[Machine] = field(default_factory=list)
    key: Path = Path()

    def __enter__(self) -> "Site":
        self.key = self.folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        try:
            for number, name in enumerate(self.names, 1):
                self.machines.append(self._start(number, name))
            for number, machine in enumerate(self.machines, 1):
                self._connect(number, machine)
                until(f"{machine.name} is up", lambda: machine.run("systemctl", "is-system-running"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for machine in self.machines:
            # With its init everything in it ends, its network too.
            os.kill(machine.init, signal.SIGKILL)
            machine.nspawn.wait(BOOT_S)
            for cgroup in machine.cgroups:
                until(f"{cgroup} is empty", lambda cgroup=cgroup: remove(cgroup))

    def _connect(self, number: int, machine: Machine) -> None:
        first = self.machines[0]
        if number == 1:
            first.ip("link", "add", "site", "type", "bridge")
            first.ip("link", "set", "site", "up")
        first.ip("link", "add", f"to-{number}", "type", "veth", "peer", "name", "host0", "netns", str(machine.init))
        first.ip("link", "set", f"to-{number}", "master", "site", "up")
        machine.ip("address", "add", f"{machine.address}/24", "dev", "host0")
        machine.ip("link", "set", "host0", "up")
        # Facts call that address the host's to which the default route leads.
        machine.ip("route", "add", "default", "via", machine.address)

    def _start(self, number: int, name: str) -> Machine:
        binds = [f"--bind-ro={self.key}.pub:/root/.ssh/authorized_keys"]
        flags = ["--register=no", "--keep-unit", "--volatile=overlay", "--console=pipe", "--boot", "--capability=all"]
        place = [f"--machine={name}", f"--directory={self.tree}", "--private-network"]
        # dockerd asks for these.
        calls = ["--system-call-filter=@keyring bpf"]
        with open(self.folder / f"{name}.log", "w") as log:
            command = ["systemd-nspawn", *flags, *place, *calls, *binds]
            cgroups = own_cgroups(name)
            nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=lambda: enter(cgroups)
            )
        init = until(f"{name} has an init", lambda: init_of(nspawn.pid))
        return Machine(name, f"10.99.0.{number}", init, nspawn, cgroups)


def own_cgroups(name: str) -> list[Path]:
    """A machine's part of each cgroup hierarchy in which its systemd keeps its units. A machine's root there is the cgroup
    that nspawn was started in: two machines in one would make, empty and remove each other's units."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "name=systemd"):
            folders = ("/sys/fs/cgroup/systemd",) if controllers else ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
            tree = next((Path(one) for one in folders if Path(one, "cgroup.procs").exists()), None)
            if tree:
                found.append(tree / path.strip("/") / f"{name}-{os.getpid()}")
    for cgroup in found:
        cgroup.mkdir()
    return found


def enter(cgroups: list[Path]) -> None:
    """Moves this process there."""
    for cgroup in cgroups:
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))


def remove(cgroup: Path) -> None:
    """The cgroup and all below it, the deepest first. Fails while a process is in it."""
    for folder in sorted(cgroup.glob("**/"), reverse=True):
        folder.rmdir()


def init_of(nspawn: int) -> int:
    children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
    return next(int(child) for child in children if Path(f"/proc/{child}/comm").read_text() == "systemd\n")


def until(what: str, attempt, deadline_s: float = BOOT_S):
    """What an attempt gives, as soon as it raises nothing."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            return attempt()
        except Exception as error:
            if time.monotonic() > end:
                raise AssertionError(f"awaited for {deadline_s} s: {what}; last: {error!r}") from error
            time.sleep(0.2)
