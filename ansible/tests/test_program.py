"""The role `program` says what is wrong before it does anything."""

import json
from pathlib import Path

import pytest
from conftest import run

URL = {"program_url": "https://releases.example.com/envoy.zip"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give exactly one of a binary"),
        ({"program_package": "envoy=1", **URL}, "give exactly one of a binary"),
        (URL, "an URL with a checksum"),
        (URL | {"program_checksum": "sha256:1234"}, "an URL with a checksum"),
        ({"program_binary": "FILE", "program_checksum": f"sha256:{'0' * 64}"}, "is not the file with sha256:000"),
        ({"program_binary": "FILE", "program_notify": {"a": 1}}, "cannot be converted to"),
    ],
)
def test_a_source_that_makes_no_sense_is_named(given: dict, said: str, tmp_path: Path):
    file = tmp_path / "envoy"
    file.write_text("program")
    variables = {key: str(file) if value == "FILE" else value for key, value in given.items()}
    play = {"hosts": "localhost", "gather_facts": False, "connection": "local", "roles": [{"role": "program"}]}
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    arguments = json.dumps({"program_name": "envoy", **variables})
    done = run("ansible-playbook", "--check", "-e", arguments, playbook, check=False)
    assert done.returncode != 0 and said in " ".join(done.stdout.split()), done.stdout + done.stderr
