"""What `make dist` makes: complete, the same each time, and where the jobs look for it."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

from conftest import REPOSITORY, run


def sums(dist: Path) -> dict[str, str]:
    return dict(line.split("  ")[::-1] for line in (dist / "SHA256SUMS").read_text().splitlines())


def test_everything_has_a_checksum_that_is_right(dist: Path):
    files = {str(one.relative_to(dist)): one for one in dist.rglob("*") if one.is_file()}
    del files["SHA256SUMS"]
    assert sums(dist) == {name: hashlib.sha256(one.read_bytes()).hexdigest() for name, one in files.items()}


def test_the_same_input_gives_the_same_bytes(dist: Path, tmp_path: Path):
    again = tmp_path / "again"
    run(REPOSITORY / "scripts/dist", "--out", again, env=os.environ | {"DIST_PROFILE": "debug"})
    assert sums(again) == sums(dist)


def test_programs_are_stripped_and_none_is_for_tests(dist: Path):
    programs = {"api-gateway", "control-plane", "envoy", "host-agent", "meshctl"}
    assert {one.name for one in (dist / "bin").iterdir()} == programs
    for name in programs:
        assert ".symtab" not in run("readelf", "--section-headers", dist / "bin" / name).stdout
    assert not list((dist / "ansible").rglob("test_*"))


def test_archives_lie_where_the_jobs_fetch_them(dist: Path):
    version = json.loads((dist / "MANIFEST.json").read_text())["version"]
    ours = {one.name for one in (dist / "artifacts").iterdir()}
    fetched = {}
    for job in sorted((REPOSITORY / "jobs").glob("*.nomad.hcl")):
        text = job.read_text()
        for name in re.findall(r"([a-z-]+)/\$\{var\.[a-z_]+\}/\1\.tar\.gz", text):
            fetched.setdefault(name, set()).update(
                re.findall(r'\$\{local\.bin\}/([a-z-]+)|"local/bin/([a-z-]+)"', text)
            )
    assert ours <= fetched.keys()
    for name in ours:
        with tarfile.open(dist / "artifacts" / name / version / f"{name}.tar.gz") as archive:
            inside = {member.name for member in archive}
        wanted = {f"bin/{a or b}" for a, b in fetched[name]}
        assert inside & wanted, f"{name}: {inside} has nothing of {wanted}"


def test_images_have_what_their_programs_load(dist: Path):
    for tree in sorted((dist / "image-trees").iterdir()):
        for program in sorted((tree / "usr/local/bin").iterdir()):
            if os.geteuid() == 0:
                done = subprocess.run(
                    ["chroot", tree, f"/usr/local/bin/{program.name}", "--version"], capture_output=True, text=True
                )
                assert done.returncode == 0, f"{tree.name}: {program.name}: {done.stderr}"


def test_an_image_is_a_whole_oci_layout(dist: Path):
    for image in sorted((dist / "images").iterdir()):
        with tarfile.open(image) as archive:
            files = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}

        def blob(descriptor: dict) -> bytes:
            return files["blobs/" + descriptor["digest"].replace(":", "/")]

        for name, data in files.items():
            if name.startswith("blobs/"):
                assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
        manifest = json.loads(blob(json.loads(files["index.json"])["manifests"][0]))
        config = json.loads(blob(manifest["config"]))
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 1
        assert len(blob(manifest["layers"][0])) == manifest["layers"][0]["size"]
        assert config["config"].get("Entrypoint") is None
