"""A Nomad that does what a test tells it, and an Airflow connection to it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ayatori_airflow.settings import NomadSettings
from ayatori_airflow.wire import Nomad
from nomad_double import JOB, NomadDouble

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def double() -> Iterator[NomadDouble]:
    one = NomadDouble()
    one.register(JOB, required=("day",), optional=("airflow_dag", "airflow_try"))
    yield one
    one.close()


@pytest.fixture
def connection(double: NomadDouble, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a connection to the double."""
    value = {"conn_type": "nomad", "host": "127.0.0.1", "port": double.port, "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_NOMAD_DEFAULT", json.dumps(value))
    return "nomad_default"


@pytest.fixture
def nomad(double: NomadDouble) -> Iterator[Nomad]:
    settings = NomadSettings(f"http://127.0.0.1:{double.port}")
    with Nomad(settings, timedelta(seconds=2), sleep=lambda _: None) as one:
        yield one
