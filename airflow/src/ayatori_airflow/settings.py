"""An Airflow connection of type `nomad`, parsed once: in goes the connection, out come settings or every problem of it.

No IO but the reading of certificates when a TLS context is made.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ayatori_airflow.errors import NomadRefused

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_PORT = 4646
EXTRAS = ("namespace", "region", "ca_cert", "client_cert", "client_key", "tls_server_name")


@dataclass(frozen=True)
class NomadSettings:
    """How to reach Nomad. Paths are of files on the worker and the triggerer, in PEM."""

    address: str
    token: str | None = None
    namespace: str | None = None
    region: str | None = None
    ca_cert: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    tls_server_name: str | None = None

    def __repr__(self) -> str:
        """Without the token."""
        return f"NomadSettings({self.address}, namespace={self.namespace}, region={self.region})"

    @classmethod
    def from_connection(cls, connection: Connection) -> NomadSettings:
        """All problems of a connection are told at once."""
        problems: list[str] = []
        address = _address(connection, problems)
        extra = _extra(connection, problems)
        if ("client_cert" in extra) != ("client_key" in extra):
            problems.append("extra has only one of client_cert and client_key: give both")
        tls = [key for key in EXTRAS[2:] if key in extra]
        if tls and not address.startswith("https://"):
            problems.append(f"extra has {', '.join(tls)}, but the schema is http: make it https")
        if problems:
            raise NomadRefused(f"connection {connection.conn_id!r}: " + "; ".join(problems))
        return cls(address=address, token=connection.password or None, **extra)

    def tls(self) -> ssl.SSLContext | bool:
        """What httpx verifies servers with."""
        if not self.address.startswith("https://"):
            return True
        try:
            context = ssl.create_default_context(cafile=self.ca_cert)
            if self.client_cert:
                context.load_cert_chain(self.client_cert, self.client_key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(file for file in (self.ca_cert, self.client_cert, self.client_key) if file)
            raise NomadRefused(f"the certificates of {self.address} cannot be read ({files}): {error}") from error
        return context


def _address(connection: Connection, problems: list[str]) -> str:
    host = (connection.host or "").strip().rstrip("/")
    scheme = (connection.schema or "").strip().lower()
    if "://" in host:
        parts = urlsplit(host)
        host, scheme = parts.netloc, scheme or parts.scheme
    scheme = scheme or "http"
    if not host:
        problems.append("it has no host: give the address of a Nomad server or agent")
    if "/" in host:
        problems.append(f"host {host!r} has a path: give a name or an address")
    if scheme not in ("http", "https"):
        problems.append(f"schema {scheme!r} is neither http nor https")
    if connection.port is not None and not 0 < connection.port < 65536:  # noqa: PLR2004
        problems.append(f"port {connection.port} is no port")
    has_port = host.rpartition(":")[2].isdecimal() and (host.count(":") == 1 or "]" in host)
    if host.count(":") > 1 and "[" not in host:
        host = f"[{host}]"
    return f"{scheme}://{host}" if has_port else f"{scheme}://{host}:{connection.port or DEFAULT_PORT}"


def _extra(connection: Connection, problems: list[str]) -> dict[str, Any]:
    try:
        extra = connection.extra_dejson
    except ValueError as error:
        problems.append(f"extra is no JSON: {error}")
        return {}
    found = {}
    for key, value in extra.items():
        if key not in EXTRAS:
            problems.append(f"extra has the unknown key {key!r}; known are {', '.join(EXTRAS)}")
        elif value is not None and not isinstance(value, str):
            problems.append(f"extra {key!r} is no text")
        elif value:
            found[key] = value
    return found
