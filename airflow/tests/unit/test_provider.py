"""What Airflow is told of the package."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, cast

import jsonschema
from airflow.sdk import Connection

from ayatori_airflow.hook import NomadHook
from ayatori_airflow.provider import get_provider_info
from ayatori_airflow.settings import EXTRAS


def connection_type() -> dict[str, Any]:
    (one,) = get_provider_info()["connection-types"]
    return cast("dict[str, Any]", one)


def test_it_is_in_the_form_that_airflow_asks_for() -> None:
    schema = json.loads(resources.files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_the_form_asks_for_what_a_connection_takes() -> None:
    assert tuple(connection_type()["conn-fields"]) == EXTRAS
    assert connection_type()["connection-type"] == NomadHook.conn_type
    assert connection_type()["hook-class-name"] == f"{NomadHook.__module__}.{NomadHook.__qualname__}"


def test_a_connection_may_be_an_address() -> None:
    one = Connection.from_uri("nomad://:secret@nomad.example.com:4646/https?namespace=batch", conn_id="n")
    assert (one.host, one.port, one.schema, one.password) == ("nomad.example.com", 4646, "https", "secret")
    assert one.extra_dejson == {"namespace": "batch"}
