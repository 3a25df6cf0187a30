"""The certificate store: made, loaded, reloaded under running connections."""

import asyncio
import datetime
import ipaddress
import shutil
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from homeserver.config import Settings, settings_from
from homeserver.tls import CertificateStore, TLSError, certificate_store


def make(
    directory: Path, name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, days: int = 10
) -> None:
    """Write `certificate.pem` and `key.pem` for `name`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "key.pem").write_bytes(private)
    (directory / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def settings(directory: Path, server_name: str = "a.example") -> Settings:
    return settings_from({"server_name": server_name}, base=directory).settings


async def serve(store: CertificateStore) -> asyncio.Server:
    """A server that sends each line back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    return await asyncio.start_server(echo, "127.0.0.1", 0, ssl=store.context)


async def connect(
    server: asyncio.Server, *, name: str | None = "a.example", context: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if context is None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    port = server.sockets[0].getsockname()[1]
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name or "")


def names_served(writer: asyncio.StreamWriter) -> list[str]:
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    extension = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    return extension.value.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize(
    ("server_name", "host"),
    [
        ("a.example:8448", "a.example"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:db8::1]:8448", "2001:db8::1"),
        ("[2001:db8:0:0::1]", "2001:db8::1"),
    ],
)
def test_a_self_signed_certificate_is_made_once(tmp_path: Path, server_name: str, host: str) -> None:
    store = certificate_store(settings(tmp_path, server_name))
    assert store.certificate.covers(host)
    assert store.certificate.covers("localhost")
    assert store.certificate.self_signed
    assert store.certificate.path == tmp_path / "data/tls/self-signed.crt"
    assert stat.S_IMODE(store.private_key_path.stat().st_mode) == 0o600
    before = store.certificate_path.read_bytes()
    certificate_store(settings(tmp_path, server_name))
    assert store.certificate_path.read_bytes() == before


def test_a_self_signed_certificate_is_made_again_for_another_name(tmp_path: Path) -> None:
    certificate_store(settings(tmp_path, "a.example"))
    assert certificate_store(settings(tmp_path, "b.example")).certificate.covers("b.example")


def test_a_self_signed_certificate_is_made_again_before_it_ends(tmp_path: Path) -> None:
    store = certificate_store(settings(tmp_path))
    make(tmp_path, "a.example", ec.generate_private_key(ec.SECP256R1()), days=5)
    shutil.copy(tmp_path / "certificate.pem", store.certificate_path)
    shutil.copy(tmp_path / "key.pem", store.private_key_path)
    remaining = certificate_store(settings(tmp_path)).certificate.not_after - datetime.datetime.now(
        datetime.UTC
    )
    assert remaining > datetime.timedelta(days=300)


def test_a_made_certificate_verifies_where_it_is_trusted(tmp_path: Path) -> None:
    store = certificate_store(settings(tmp_path, "192.0.2.1"))
    certificate = x509.load_pem_x509_certificate(store.certificate_path.read_bytes())
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ipaddress.ip_address("192.0.2.1") in alternative.get_values_for_type(x509.IPAddress)


@pytest.mark.parametrize("name", ["a.example", None])
async def test_reload_serves_the_new_certificate_and_keeps_connections(
    tmp_path: Path, name: str | None
) -> None:
    # Of another kind of key, which OpenSSL would otherwise keep beside the old one.
    make(tmp_path, "old.example", rsa.generate_private_key(65537, 2048))
    store = CertificateStore(tmp_path / "certificate.pem", tmp_path / "key.pem")
    async with await serve(store) as server:
        reader, writer = await connect(server, name=name)
        assert names_served(writer) == ["old.example"]

        make(tmp_path, "new.example", ec.generate_private_key(ec.SECP256R1()))
        assert store.reload().names == ("new.example",)
        _, second = await connect(server, name=name)
        assert names_served(second) == ["new.example"]

        writer.write(b"still here\n")
        assert await reader.readline() == b"still here\n"
        writer.close()
        second.close()


async def test_a_reload_that_fails_keeps_the_certificate(tmp_path: Path) -> None:
    make(tmp_path, "old.example", ec.generate_private_key(ec.SECP256R1()))
    store = CertificateStore(tmp_path / "certificate.pem", tmp_path / "key.pem")
    (tmp_path / "certificate.pem").write_text("half a fi")
    with pytest.raises(TLSError, match=r"tls_certificate_path: .* is not a certificate chain"):
        store.reload()
    async with await serve(store) as server:
        _, writer = await connect(server)
        assert names_served(writer) == ["old.example"]
        writer.close()


async def test_older_tls_is_refused(tmp_path: Path) -> None:
    store = certificate_store(settings(tmp_path))
    assert store.context.minimum_version == ssl.TLSVersion.TLSv1_2
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with await serve(store) as server:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(server, context=context)
