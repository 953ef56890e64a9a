"""Nomad's own way of TLS: certificates of its own authority, asked for from both sides, with names that are no hosts."""

from __future__ import annotations

import datetime as dt
import ssl
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ayatori_airflow.errors import NomadUnreachable
from ayatori_airflow.settings import NomadSettings
from ayatori_airflow.wire import Call, Nomad
from nomad_double import NomadDouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEADER = Call("GET", "/v1/status/leader")


class Authority:
    """Signs certificates into a folder, as NAME.pem and NAME-key.pem."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Nomad CA")])
        self._write("ca", self.key, self._build("Nomad CA", self.key, is_authority=True))

    def sign(self, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(name, key, self._build(name, key, is_authority=False))

    def _build(self, name: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name.replace(" ", "-"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
        secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (self.folder / f"{name}-key.pem").write_bytes(secret)


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[NomadSettings]:
    """Those that work."""
    authority = Authority(tmp_path)
    authority.sign("server.global.nomad")
    authority.sign("cli.global.nomad")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(tmp_path / "ca.pem"))
    context.load_cert_chain(tmp_path / "server.global.nomad.pem", tmp_path / "server.global.nomad-key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    double = NomadDouble(tls=context)
    yield NomadSettings(
        f"https://127.0.0.1:{double.port}",
        ca_cert=str(tmp_path / "ca.pem"),
        client_cert=str(tmp_path / "cli.global.nomad.pem"),
        client_key=str(tmp_path / "cli.global.nomad-key.pem"),
        tls_server_name="server.global.nomad",
    )
    double.close()


def leader(settings: NomadSettings) -> object:
    with Nomad(settings, timedelta(0)) as nomad:
        return nomad.call(LEADER).value


def test_both_sides_show_certificates(settings: NomadSettings) -> None:
    assert leader(settings) == "127.0.0.1:4647"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"ca_cert": None}, "CERTIFICATE_VERIFY_FAILED"),
        ({"tls_server_name": None}, "CERTIFICATE_VERIFY_FAILED"),
        ({"tls_server_name": "server.eu.nomad"}, "Hostname mismatch"),
        ({"client_cert": None, "client_key": None}, "failed for 0 s"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    settings: NomadSettings, wrong: dict[str, str | None], reason: str
) -> None:
    with pytest.raises(NomadUnreachable, match=reason):
        leader(replace(settings, **wrong))  # type: ignore[arg-type]
