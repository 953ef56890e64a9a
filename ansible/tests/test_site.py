"""The whole site playbook against booted Debians: a server and a client that begin bare.

Real are systemd, apt, Consul, dockerd, nftables, the host agent and everything of `make dist` (with debug programs). Nomad is
the one on PATH, else the stand-in for it. Runs in the order in which it stands here.
"""

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, Need, run
from machines import Machine, Site, until

SECRET = {name: str(uuid.uuid4()) for name in ("management", "fluentd", "environment")}
SECRET["gossip"] = base64.b64encode(secrets.token_bytes(32)).decode()
EXPOSURE = 2.5


@dataclass
class Run:
    """The site, and how its playbook is run."""

    site: Site
    inventory: Path

    @property
    def server(self) -> Machine:
        return self.site.machines[0]

    @property
    def client(self) -> Machine:
        return self.site.machines[1]

    def play(self, *words: str) -> str:
        done = run("ansible-playbook", "-i", self.inventory, "playbooks/site.yml", *words)
        said = done.stdout + done.stderr
        told = [name for name, value in SECRET.items() if value in said]
        assert not told and "PRIVATE KEY" not in said, f"printed secrets: {told}"
        return said


def changes(said: str) -> dict[str, int]:
    """Host → what a run changed, from its recap."""
    return {host: int(count) for host, count in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+) ", said, re.MULTILINE)}


def certificates(folder: Path) -> dict[str, str]:
    """An authority and one certificate that is good for every agent of the test."""
    folder.mkdir()

    def openssl(*words: str) -> None:
        run("openssl", *words, cwd=folder)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=site", "-keyout", "ca-key.pem", "-out", "ca.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=server.dc1.consul", "-keyout", "key.pem", "-out", "request.pem")
    (folder / "names").write_text("subjectAltName=DNS:server.dc1.consul,DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-days", "2", "-extfile", "names", "-out", "certificate.pem")
    return {
        "consul_tls_ca": (folder / "ca.pem").read_text(),
        "consul_tls_certificate": (folder / "certificate.pem").read_text(),
        "consul_tls_key": (folder / "key.pem").read_text(),
    }


def nomad() -> Path:
    """The one on PATH, else the stand-in, which answers to its name; `make build` makes it."""
    return Path(shutil.which("nomad") or REPOSITORY / "target/debug/nomad-stand-in")


def inventory(site: Site, folder: Path, consul: str, dist: Path) -> Path:
    variables = {
        # The tree has what roles install, and no name server.
        "base_apt_cache_valid_s": 10**9,
        # What they would bring is built into the kernel here.
        "base_kernel_modules": [],
        "base_firewall_peers": ["10.99.0.0/24"],
        "base_firewall_scrapers": ["10.99.0.0/24"],
        # An overlay cannot lie on the machines' overlay.
        "docker_storage_driver": "vfs",
        "consul_binary": consul,
        "consul_retry_join": [site.machines[0].address],
        "consul_bootstrap_expect": 1,
        "consul_gossip_key": SECRET["gossip"],
        "consul_acl": True,
        "consul_acl_initial_management_token": SECRET["management"],
        "consul_acl_agent_token": SECRET["management"],
        **certificates(folder / "certificates"),
        "nomad_binary": str(nomad()),
        "nomad_bootstrap_expect": 1,
        "nomad_retry_join": [site.machines[0].address],
        "nomad_gossip_key": SECRET["gossip"],
        "nomad_consul_token": SECRET["management"],
        "nomad_environment": {"SITE": SECRET["environment"]},
        "envoy_dist": str(dist),
        "host_agent_dist": str(dist),
        "host_agent_consul_token": SECRET["management"],
        "host_agent_forward_servers": ["10.99.0.1:24224"],
        "host_agent_forward_shared_key": SECRET["fluentd"],
    }
    hosts = {one.name: one.connection(site.key) | {"ansible_host": one.address} for one in site.machines}
    server, client = hosts.items()
    groups = {
        "servers": {"hosts": dict([server]), "vars": {"consul_server": True, "nomad_server": True}},
        "clients": {"hosts": dict([client]), "vars": {"nomad_client": True}},
    }
    path = folder / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"children": groups, "vars": variables}}))
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, dist: Path, request: pytest.FixtureRequest):
    need = Need(request.node.name)
    need.part("ansible")
    if os.geteuid() != 0:
        need.skip("systemd", "booting a Debian needs root")
    tree, consul = need.part("systemd", "AYATORI_HOSTS_TREE"), need.part("consul")
    folder = tmp_path_factory.mktemp("site")
    with Site(folder, Path(tree), ["server-1", "host-1"]) as machines:
        yield Run(machines, inventory(machines, folder, consul, dist))


def contents(machine: Machine) -> str:
    """Every file that a role could have written, with its size and time, and every package."""
    find = r"find /etc /opt /usr/local /var/lib -path /var/lib/systemd -prune -o -printf '%p %m %U %s %T@\n' | sort"
    return machine.run("sh", "-c", f"{find}; dpkg-query -W; systemctl list-unit-files")


def test_check_mode_shows_what_bare_hosts_would_get_and_changes_nothing(site: Run):
    before = contents(site.client)
    said = site.play("--check", "--diff", "--limit", "host-1")
    assert contents(site.client) == before
    assert changes(said)["host-1"] > 20
    assert '+    "datacenter": "dc1",' in said and "+network_interface" not in said


def test_the_site_makes_hosts_of_a_mesh(site: Run):
    site.play("-vvv", "--diff")
    for machine in site.site.machines:
        machine.run("systemctl", "is-active", "consul", "nomad", "host-agent", "nftables")
    site.client.run("systemctl", "is-active", "docker")
    members = site.server.run("consul", "members", "-token", SECRET["management"])
    seen = {line.split()[0]: line.split()[2:4] for line in members.splitlines()[1:]}
    assert seen == {"server-1": ["alive", "server"], "host-1": ["alive", "client"]}
    assert site.client.run("docker", "info", "--format", "{{.LoggingDriver}} {{.LiveRestoreEnabled}}") == "journald true\n"
    for program in ("envoy", "meshctl", "host-agent"):
        site.client.run(program, "--version")


def asking(url: str) -> list[str]:
    fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=2).read().decode())"
    return ["python3", "-c", fetch, url]


def ask(machine: Machine, url: str) -> str:
    return machine.run(*asking(url))


def test_others_reach_metrics_and_nothing_that_is_not_let_in(site: Run):
    until("metrics come", lambda: ask(site.server, "http://10.99.0.2:9180/metrics").index("mesh_relay_target_up"), 20)
    for port, reached in ((8081, False), (20001, True)):
        server = f"http.server --bind 0.0.0.0 --directory /usr/share/doc {port}"
        site.client.run("systemd-run", f"--unit=plain-{port}", "python3", "-m", *server.split())
        until(f"{port} answers", lambda port=port: ask(site.client, f"http://127.0.0.1:{port}/"), 20)
        if reached:
            ask(site.server, f"http://10.99.0.2:{port}/")
        else:
            with pytest.raises(AssertionError, match="timed out"):
                ask(site.server, f"http://10.99.0.2:{port}/")


def test_containers_reach_the_ports_for_spans_of_their_host_and_other_hosts_do_not(site: Run):
    # A namespace in Nomad's bridge network, and something that answers where the agent would.
    bridge = (
        "ip netns add inside; ip link add outside type veth peer name inner netns inside; "
        "ip address add 172.26.64.1/20 dev outside; ip link set outside up; "
        "ip -n inside address add 172.26.64.2/20 dev inner; ip -n inside link set inner up"
    )
    site.client.run("sh", "-ec", bridge)
    server = "http.server --bind 0.0.0.0 --directory /usr/share/doc 4317"
    site.client.run("systemd-run", "--unit=spans", "python3", "-m", *server.split())
    until("4317 answers", lambda: ask(site.client, "http://127.0.0.1:4317/"), 20)
    site.client.run("ip", "netns", "exec", "inside", *asking("http://172.26.64.1:4317/"))
    with pytest.raises(AssertionError, match="timed out"):
        ask(site.server, "http://10.99.0.2:4317/")


def test_secrets_are_for_those_who_need_them(site: Run):
    find = "find /etc/consul.d /etc/nomad.d /etc/ayatori -type f -printf '%m %u:%g %p\n' | sort -k 3"
    lines = [line.split() for line in site.client.run("sh", "-c", find).splitlines()]
    assert {path: f"{mode} {owner}" for mode, owner, path in lines} == {
        "/etc/ayatori/host-agent.toml": "644 root:root",
        "/etc/ayatori/secrets/fluentd-shared-key": "600 root:root",
        "/etc/ayatori/secrets/host-agent-consul-token": "600 root:root",
        "/etc/consul.d/consul.json": "640 root:consul",
        "/etc/consul.d/secrets.json": "640 root:consul",
        "/etc/consul.d/tls/agent-key.pem": "640 root:consul",
        "/etc/consul.d/tls/agent.pem": "640 root:consul",
        "/etc/consul.d/tls/ca.pem": "640 root:consul",
        "/etc/nomad.d/more.hcl": "640 root:nomad",
        "/etc/nomad.d/nomad.env": "600 root:root",
        "/etc/nomad.d/nomad.hcl": "640 root:nomad",
        "/etc/nomad.d/secrets.hcl": "640 root:nomad",
    }
    # Without a token Consul shows nothing, so the tokens that agents have are the ones given.
    assert "server-1" not in site.client.run("consul", "members", check=False)


def test_our_units_may_do_little(site: Run):
    # A Nomad client makes namespaces and mounts; everything else is confined.
    units = {site.server: ["consul", "nomad", "host-agent"], site.client: ["consul", "host-agent"]}
    for machine, names in units.items():
        for name in names:
            said = machine.run("systemd-analyze", "security", "--no-pager", f"{name}.service")
            level = float(re.search(r"exposure level for \S+: ([\d.]+)", said)[1])
            assert level <= EXPOSURE, f"{machine.name}: {name}: {level}"


def test_a_second_run_changes_nothing(site: Run):
    assert changes(site.play()) == {"server-1": 0, "host-1": 0}


def test_a_new_setting_restarts_its_agent_alone_as_what_was_left_undone_does_and_registrations_stay(site: Run):
    token = {"X-Consul-Token": SECRET["management"]}
    service = json.dumps({"Name": "orders", "Port": 20001})
    put = "import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], sys.argv[2].encode(), eval(sys.argv[3]), method='PUT'))"
    site.client.run("python3", "-c", put, "http://127.0.0.1:8500/v1/agent/service/register", service, repr(token))
    units = ("consul", "nomad", "docker", "host-agent")
    pid = {unit: site.client.run("systemctl", "show", "-P", "MainPID", unit) for unit in units}
    # Whether it is enabled says nothing of whether it runs. And a run was cut off after it wrote settings of the host agent.
    site.client.run("systemctl", "disable", "consul")
    site.client.run("touch", "/etc/ayatori/host-agent.toml")
    watch = subprocess.Popen(
        ["nsenter", "-t", str(site.server.init), "-a", "sh", "-c",
         f"until [ -e /run/seen ]; do consul catalog nodes -service=orders -token={SECRET['management']}; sleep 0.1; done"],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = site.play("--diff", "--limit", "host-1", "--tags", "consul,host_agent", "-e", "consul_log_level=debug")
    site.server.run("touch", "/run/seen")
    seen = watch.communicate()[0].splitlines()
    now = {unit: site.client.run("systemctl", "show", "-P", "MainPID", unit) for unit in pid}
    assert '+    "log_level": "debug",' in said
    assert {unit: now[unit] == pid[unit] for unit in pid} == {
        "consul": False, "nomad": True, "docker": True, "host-agent": False
    }  # fmt: skip
    assert site.client.run("systemctl", "is-enabled", "consul") == "enabled\n"
    # Each answer is a heading and the host; an answer without it would say that no node matches.
    assert len(seen) > 10 and not [line for line in seen if not line.startswith(("Node", "host-1"))]


def install(site: Run, folder: Path, **source: str) -> subprocess.CompletedProcess[str]:
    """The role `program` alone, on the client."""
    role = {"role": "program", **{f"program_{key}": value for key, value in source.items()}}
    playbook = folder / "program.yml"
    playbook.write_text(json.dumps([{"hosts": "clients", "gather_facts": False, "roles": [role]}]))
    return run("ansible-playbook", "-i", site.inventory, playbook, check=False)


def test_a_program_comes_from_an_archive_whose_sum_is_right(site: Run, tmp_path: Path):
    make = "mkdir /srv/a && cd /srv/a && printf '#!/bin/sh\\necho from an archive\\n' >hello && chmod 755 hello && tar -czf hello.tar.gz hello"
    site.client.run("sh", "-c", make)
    checksum = site.client.run("sha256sum", "/srv/a/hello.tar.gz").split()[0]
    server = "python3 -m http.server --bind 127.0.0.1 --directory /srv/a 8090"
    site.client.run("systemd-run", "--unit=archives", *server.split())
    until("archives are served", lambda: ask(site.client, "http://127.0.0.1:8090/"), 20)
    source = {"name": "hello", "url": "http://127.0.0.1:8090/hello.tar.gz"}
    wrong = install(site, tmp_path, checksum=f"sha256:{'0' * 64}", **source)
    assert wrong.returncode != 0 and "did not match" in wrong.stdout, wrong.stdout
    assert "No such file" in site.client.run("sh", "-c", "ls /usr/local/bin/hello 2>&1", check=False)
    counts = [changes(install(site, tmp_path, checksum=f"sha256:{checksum}", **source).stdout) for _ in range(2)]
    assert site.client.run("hello") == "from an archive\n"
    assert counts[0]["host-1"] > 0 and counts[1] == {"host-1": 0}


def test_a_package_is_held_at_its_version(site: Run, tmp_path: Path):
    version = site.client.run("dpkg-query", "-W", "-f", "${Version}", "nftables")
    counts = [changes(install(site, tmp_path, name="nft", package=f"nftables={version}").stdout) for _ in range(2)]
    assert counts == [{"host-1": 1}, {"host-1": 0}]
    assert site.client.run("apt-mark", "showhold") == "nftables\n"


def test_docker_takes_the_images(site: Run, dist: Path):
    for image in sorted((dist / "images").iterdir()):
        with open(image, "rb") as file:
            load = ["nsenter", "-t", str(site.client.init), "-a", "docker", "load"]
            loaded = subprocess.run(load, stdin=file, capture_output=True, text=True)
        assert loaded.returncode == 0, loaded.stderr
        name = f"{image.stem.rpartition('-')[0]}:{image.stem.rpartition('-')[2]}"
        assert loaded.stdout == f"Loaded image: {name}\n"
