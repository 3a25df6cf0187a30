"""Certificates for TLS servers inside the test process: of a private authority, expired, or self-signed.

    authority = Authority(tmp_path)
    context = authority.server_context("matrix.example", "127.86.0.1")

Processes that want files use `authority.CertificateAuthority`.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority. `path` is its own certificate, in PEM: what clients are told to trust."""

    def __init__(self, directory: Path, name: str = "tests") -> None:
        self._directory = directory
        self._key = _key(f"authority {name}")
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority {name}")])
        certificate = (
            _builder(self._name, self._name, self._key, timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = directory / f"authority-{name}.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server_context(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """TLS settings of a server with a certificate for these host names and IP addresses."""
        key = _key("leaf")
        lifetime = timedelta(hours=-1) if expired else timedelta(days=30)
        builder = _builder(x509.Name([]), self._name, key, lifetime)
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        certificate = builder.add_extension(alternatives, critical=True).sign(self._key, hashes.SHA256())
        path = self._directory / f"leaf-{certificate.serial_number}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that the servers of a test trust."""
    return Authority(tmp_path)


@cache
def _key(purpose: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + lifetime)
    )
