"""Connections: what is taken, and that all problems are told at once."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import Connection

from ayatori_airflow.errors import NomadRefused
from ayatori_airflow.settings import NomadSettings


def settings(**fields: Any) -> NomadSettings:
    return NomadSettings.from_connection(Connection(conn_id="n", conn_type="nomad", **fields))


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({"host": "nomad.example.com"}, "http://nomad.example.com:4646"),
        ({"host": "nomad.example.com", "schema": "https", "port": 443}, "https://nomad.example.com:443"),
        ({"host": "https://nomad.example.com/"}, "https://nomad.example.com:4646"),
        ({"host": "https://nomad.example.com:8443"}, "https://nomad.example.com:8443"),
        ({"host": "2001:db8::1"}, "http://[2001:db8::1]:4646"),
        ({"host": "[2001:db8::1]:80"}, "http://[2001:db8::1]:80"),
    ],
)
def test_an_address_is_made_of_host_port_and_schema(fields: dict[str, Any], address: str) -> None:
    assert settings(**fields).address == address


def test_all_that_a_connection_says_is_taken() -> None:
    extra = '{"namespace": "batch", "region": "eu", "ca_cert": "/ca", "client_cert": "/c", "client_key": "/k"}'
    assert settings(host="h", schema="https", password="secret", extra=extra) == NomadSettings(
        address="https://h:4646",
        token="secret",
        namespace="batch",
        region="eu",
        ca_cert="/ca",
        client_cert="/c",
        client_key="/k",
    )


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(NomadRefused) as told:
        settings(host="h/path", schema="ftp", extra='{"namspace": "x", "region": 1, "client_cert": "/c"}')
    assert str(told.value) == (
        "connection 'n': host 'h/path' has a path: give a name or an address; "
        "schema 'ftp' is neither http nor https; "
        "extra has the unknown key 'namspace'; known are namespace, region, ca_cert, client_cert, client_key, "
        "tls_server_name; extra 'region' is no text; "
        "extra has only one of client_cert and client_key: give both; "
        "extra has client_cert, but the schema is http: make it https"
    )


def test_a_connection_without_host_is_refused() -> None:
    with pytest.raises(NomadRefused, match="it has no host: give the address of a Nomad server or agent"):
        settings()


def test_certificates_that_cannot_be_read_are_named() -> None:
    with pytest.raises(NomadRefused, match=r"certificates of https://h:1 cannot be read \(/nothing\.pem\)"):
        NomadSettings("https://h:1", ca_cert="/nothing.pem").tls()


def test_the_token_is_not_printed() -> None:
    assert "secret" not in repr(NomadSettings("http://h:1", token="secret"))
