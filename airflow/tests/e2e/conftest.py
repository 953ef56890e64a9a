"""One Airflow and one Nomad for all tests. Runs that need no fault are started together, before the first test."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from airflow_lab import Airflow, until
from nomad_double import NomadDouble
from nomad_lab import Nomad, Way, batch_job, program
from postgres_lab import Postgres
from scene import GATED, STOPPABLE, Scene

LOCAL = "127.0.0.1"


@pytest.fixture(scope="session")
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    binary = program()
    if binary is None:
        skip(request, "airflow e2e", "ours", "neither `nomad` on PATH nor target/debug/nomad-stand-in; run `make build`")
    say(request, f"end to end against {binary}")
    folder = Path(tempfile.mkdtemp(prefix="ayatori-airflow-"))
    for part in ("airflow", "nomad", "postgres"):
        (folder / part).mkdir()
    double = NomadDouble()
    double.register("e2e-batch", required=("script",))
    guarded = NomadDouble(token="right")
    nomad = Nomad(folder / "nomad", binary)
    way = Way(nomad.port)
    postgres = Postgres(folder / "postgres")
    airflow = Airflow(folder / "airflow", postgres.address, connections(way, double, guarded))
    try:
        nomad.register(batch_job("e2e-batch"))
        constraint = {"LTarget": "${attr.kernel.name}", "RTarget": "plan9", "Operand": "="}
        nomad.register(batch_job("e2e-nowhere", Constraints=[constraint]))
        airflow.start()
        until("the DAGs are there", lambda: airflow.client.get("/dags/same_key").status_code == 200, 180)
        stored = {"connection_id": "nomad_stored", "conn_type": "nomad", "host": LOCAL, "port": way.port}
        airflow.call("POST", "/connections", json=stored)
        scene = Scene(folder, airflow, nomad, double, way)
        start_all(scene)
        yield scene
    finally:
        airflow.stop()
        postgres.stop()
        nomad.stop()
        way.cut()
        double.close()
        guarded.close()
    if os.environ.get("AYATORI_KEEP"):
        say(request, f"kept: {folder}")
    else:
        shutil.rmtree(folder)


def connections(way: Way, double: NomadDouble, guarded: NomadDouble) -> dict[str, str]:
    """As an operator of Airflow gives them: in the environment."""
    nomads: dict[str, dict[str, object]] = {
        "DEFAULT": {"port": way.port},
        "DOUBLE": {"port": double.port},
        "WRONG_TOKEN": {"port": guarded.port, "password": "wrong"},
        "NOWHERE": {"port": 1},
    }
    return {
        f"AIRFLOW_CONN_NOMAD_{name}": json.dumps({"conn_type": "nomad", "host": LOCAL, **fields})
        for name, fields in nomads.items()
    }


def start_all(scene: Scene) -> None:
    """Those that are hindered later come first, so that they wait when their fault comes."""
    scene.start("triggerer_killed", "retried", GATED)
    scene.start("worker_killed", "waiting", GATED)
    scene.start("scheduler_killed", "retried", GATED)
    scene.start("nomad_away", "plain", GATED)
    scene.start("cancelled", "plain", STOPPABLE)
    scene.start("cleared", "plain", STOPPABLE)
    scene.start("cancelled_in_slot", "waiting", STOPPABLE)
    scene.start("unplaceable", "unplaceable")
    scene.start("good", "plain", "echo run >>{file}; echo said; echo complained >&2")
    scene.start("bad", "plain", "echo before; exit 3")
    scene.start("second_try", "retried", "echo run >>{file}; [ $(wc -l <{file}) = 2 ]")
    for name in ("unknown_job", "no_meta", "too_large", "wrong_token", "impatient"):
        scene.start(name, name)
    scene.start("same_key_1", "same_key", "echo run >>{file}; sleep 1", key="shared")
    scene.start("same_key_2", "same_key", "echo run >>{file}; sleep 1", key="shared")
    scene.start("streamed", "streamed", "echo early; " + GATED)
    scene.start("mapped", "mapped")
    scene.start("large_log", "plain", "yes $(printf %099d 0) | head -c 50000000; echo the end")
    scene.start("overdue", "overdue", STOPPABLE)
    scene.start("oom", "double")
    scene.start("lost", "double")


def skip(request: pytest.FixtureRequest, test: str, part: str, why: str) -> NoReturn:
    """As the tests in Rust do: said, and a failure where the part is required."""
    if part in os.environ.get("E2E_REQUIRE", "").split(","):
        pytest.fail(f"{test}: {part}: {why}")
    say(request, f"SKIP {test}: {part}: {why}")
    pytest.skip(f"{part}: {why}")


def say(request: pytest.FixtureRequest, line: str) -> None:
    """On a line of its own, past pytest's capture."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    with capture.global_and_fixture_disabled():
        os.write(1, f"\n{line}\n".encode())
