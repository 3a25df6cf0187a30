"""The certificate of the TLS listeners: loaded, made when none is given, reloaded while serving."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from homeserver.certificate_files import CertificateFiles, UnusableFiles, load, set_up
from homeserver.certificate_names import cover, names_of
from homeserver.client_hello import LONGEST, protocols_offered
from homeserver.config import Settings

log = logging.getLogger(__name__)

ACME_PROTOCOL = "acme-tls/1"
"""The application protocol by which an ACME server asks for a challenge's certificate.

Spec: https://www.rfc-editor.org/rfc/rfc8737#section-3
"""
ACME_CERTIFICATE = "certificate.pem"
"""The file in `acme_directory`: key and chain in one, so that replacing it replaces both at once."""

SELF_SIGNED_LIFETIME = datetime.timedelta(days=730)
RENEW_BEFORE = datetime.timedelta(days=30)


class TLSError(Exception):
    """The certificate cannot be used; the text says why and what to do."""


@dataclass(frozen=True)
class Certificate:
    """What is known of the certificate that is served."""

    path: Path
    names: tuple[str, ...]
    not_before: datetime.datetime
    not_after: datetime.datetime
    self_signed: bool

    def covers(self, host: str) -> bool:
        """Whether the certificate is for `host` (a DNS name or an address literal without brackets)."""
        return cover(self.names, host)


class CertificateStore:
    """Gives `context` for listeners; `reload` reads the files again, for connections that come after it.

    The context that listeners hold only chooses: every handshake is handed to the newest inner context.
    Loading a certificate of another key type into one context would leave the old one beside it.

    While `challenges` has a context for a name, an ACME server that comes to check the name gets that one, and everybody else
    what they always get.
    """

    def __init__(self, certificate_path: Path, private_key_path: Path) -> None:
        """Load the files. Raises TLSError."""
        self.certificate_path = certificate_path
        self.private_key_path = private_key_path
        self.challenges: dict[str, ssl.SSLContext] = {}
        self._inner, self.certificate = self._load(certificate_path, private_key_path)
        self.context = _ListenerContext(ssl.PROTOCOL_TLS_SERVER)
        set_up(self.context)
        self.context.challenges = self.challenges
        self.context.load_cert_chain(certificate_path, private_key_path)
        self.context.sni_callback = self._choose

    def reload(self) -> Certificate:
        """Read the files again. Raises TLSError, and then the certificate of before stays in use."""
        return self.use(self.certificate_path, self.private_key_path)

    def use(self, certificate_path: Path, private_key_path: Path) -> Certificate:
        """Serve these files from now on. Raises TLSError, and then nothing changes."""
        self._inner, self.certificate = self._load(certificate_path, private_key_path)
        self.certificate_path, self.private_key_path = certificate_path, private_key_path
        return self.certificate

    def _choose(self, handshake: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        challenge = self.challenges.get((name or "").lower())
        if (
            challenge is not None
            and isinstance(handshake, _ListenerHandshake)
            and ACME_PROTOCOL.encode() in protocols_offered(handshake.received)
        ):
            handshake.context = challenge
        else:
            handshake.context = self._inner

    @classmethod
    def _load(cls, certificate_path: Path, private_key_path: Path) -> tuple[ssl.SSLContext, Certificate]:
        try:
            context, certificate = load(CertificateFiles(certificate_path, private_key_path))
        except UnusableFiles as error:
            raise TLSError(str(error)) from None
        return context, _describe(certificate_path, certificate)


class _ListenerHandshake(ssl.SSLObject):
    """Keeps what the client sends until the handshake is done, so that the choice can depend on what it offers."""

    incoming: ssl.MemoryBIO | None = None
    received = b""

    def do_handshake(self) -> None:
        """What has come so far is read, and put back for OpenSSL, which reads on until its message is whole."""
        if self.incoming is not None and self.incoming.pending:
            came = self.incoming.read()
            self.incoming.write(came)
            self.received += came
            if len(self.received) > LONGEST:
                self.incoming, self.received = None, b""
        super().do_handshake()
        self.incoming, self.received = None, b""


class _ListenerContext(ssl.SSLContext):
    """The context of the listeners. Handshakes are looked into only while a challenge is to be answered."""

    sslobject_class = _ListenerHandshake
    challenges: Mapping[str, ssl.SSLContext]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As in `ssl`."""
        handshake = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        if self.challenges and isinstance(handshake, _ListenerHandshake):
            handshake.incoming = incoming
        return handshake


def _describe(path: Path, certificate: x509.Certificate) -> Certificate:
    self_signed = certificate.issuer == certificate.subject
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return Certificate(path, names_of(certificate), begin, end, self_signed)


def certificate_store(settings: Settings) -> CertificateStore:
    """The store for the certificate that the settings name or that ACME has brought, or for a self-signed one, made when needed.

    Raises TLSError.
    """
    certificate, private_key = settings.tls.tls_certificate_path, settings.tls.tls_private_key_path
    if certificate is not None and private_key is not None:
        return CertificateStore(certificate, private_key)
    obtained = acme_directory(settings) / ACME_CERTIFICATE
    if settings.tls.acme.enabled and obtained.exists():
        try:
            return CertificateStore(obtained, obtained)
        except TLSError as error:
            log.warning(
                "The certificate that was obtained by ACME cannot be used, so there will be another: %s",
                error,
            )
    directory = settings.server.data_directory / "tls"
    certificate, private_key = directory / "self-signed.crt", directory / "self-signed.key"
    host = settings.server_name.host.strip("[]")
    if not _is_usable(certificate, private_key, host):
        try:
            _write_self_signed(host, certificate, private_key)
        except OSError as error:
            raise TLSError(
                f"a self-signed certificate cannot be written to {directory} ({error.strerror}); make the "
                "data directory writable, or give tls_certificate_path and tls_private_key_path"
            ) from None
    return CertificateStore(certificate, private_key)


def acme_directory(settings: Settings) -> Path:
    """Where what belongs to ACME is kept."""
    return settings.server.data_directory / "acme"


def _is_usable(certificate: Path, private_key: Path, host: str) -> bool:
    try:
        known = CertificateStore(certificate, private_key).certificate
    except TLSError:
        return False
    return known.covers(host) and known.not_after - RENEW_BEFORE > datetime.datetime.now(datetime.UTC)


def _write_self_signed(host: str, certificate_path: Path, private_key_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = []
    for name in dict.fromkeys((host, "localhost", "127.0.0.1", "::1")):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            names.append(x509.DNSName(name))
    certificate = (
        self_signed(host, key, names, SELF_SIGNED_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate_path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(private_key_path, private, 0o600)
    write_whole(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def self_signed(
    common_name: str,
    key: ec.EllipticCurvePrivateKey,
    names: Iterable[x509.GeneralName],
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    """A certificate of an issuer who is the subject, to be completed and signed; valid since a day, against wrong clocks."""
    # A common name has at most 64 characters; the names that count are the alternative ones.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Write so that a reader finds the old or the new content, never a part, after a power cut too. Raises OSError."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
