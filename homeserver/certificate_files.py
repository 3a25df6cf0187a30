"""The files of a certificate and its key, loaded as the TLS listeners need them; what is wrong with them is named.

One place for the start of the server, for its reloads, and for the doctor, so that they cannot judge differently.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from homeserver.certificate_names import check_readable


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate (with those in between) and its private key are: tls_certificate_path and tls_private_key_path."""

    certificate: Path
    private_key: Path


class UnusableFiles(Exception):
    """The files cannot be served. code: a stable name; found: what is wrong, with the setting and the path; remedy: what to do."""

    def __init__(self, code: str, found: str, remedy: str) -> None:
        super().__init__(f"{found}; {remedy}")
        self.code = code
        self.found = found
        self.remedy = remedy


_CERTBOT = (
    "give the files of one certificate as they are; with certbot they are fullchain.pem and privkey.pem"
)
_NOT_ITS_KEY = (
    "key-does-not-fit",
    "tls_private_key_path: {key} is not the key of the certificate {certificate}",
    "give the two files of one certificate",
)
_TOO_WEAK = (
    "certificate-too-weak",
    "tls_certificate_path: {certificate} is too weak for TLS of today ({error})",
    "get a certificate with a key of 2048 bits RSA or more, or on an elliptic curve, signed with SHA-256",
)
_ENCRYPTED = (
    "key-encrypted",
    "tls_private_key_path: {key} is encrypted",
    "give a key without a password",
)
_NO_CERTIFICATE = (
    "certificate-file-invalid",
    "tls_certificate_path: {certificate} is not a certificate chain in PEM form",
    _CERTBOT,
)
_NO_KEY = (
    "key-file-invalid",
    "tls_private_key_path: {key} is not a private key in PEM form ({error})",
    _CERTBOT,
)
_MALFORMED = (
    "certificate-malformed",
    "tls_certificate_path: {certificate} has a part that cannot be read ({error})",
    "get another certificate from the authority that issued it",
)
# By OpenSSL's name of what it met; a key of another kind than the certificate's is left "without certificate".
_BY_REASON = {
    "KEY_VALUES_MISMATCH": _NOT_ITS_KEY,
    "NO_CERTIFICATE_ASSIGNED": _NOT_ITS_KEY,
    "EE_KEY_TOO_SMALL": _TOO_WEAK,
    "CA_KEY_TOO_SMALL": _TOO_WEAK,
    "CA_MD_TOO_WEAK": _TOO_WEAK,
}


def load(files: CertificateFiles) -> tuple[ssl.SSLContext, x509.Certificate]:
    """TLS of a server with this certificate, and the certificate itself. Reads files. Raises UnusableFiles."""
    content = _read("tls_certificate_path", files.certificate)
    _read("tls_private_key_path", files.private_key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    set_up(context)
    try:
        context.load_cert_chain(files.certificate, files.private_key, password=_no_password)
    except _PasswordNeeded as error:
        raise _unusable(_ENCRYPTED, files, error) from None
    except ssl.SSLError as error:
        known = _BY_REASON.get(error.reason or "")
        raise _unusable(known or (_NO_KEY if _parses(content) else _NO_CERTIFICATE), files, error) from None
    try:
        certificate = x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise _unusable(_NO_CERTIFICATE, files, error) from None
    try:
        check_readable(certificate)
    except ValueError as error:
        raise _unusable(_MALFORMED, files, error) from None
    return context, certificate


def set_up(context: ssl.SSLContext) -> None:
    """What is common to all TLS of this server.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#tls (TLS 1.2 or newer is what everybody speaks)
    """
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        found = f"{setting}: {path} cannot be read ({error.strerror})"
        remedy = "check the path, and that the user that runs the server may read it"
        raise UnusableFiles("certificate-file-unreadable", found, remedy) from None


def _parses(content: bytes) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(content))
    except ValueError:
        return False


def _unusable(fault: tuple[str, str, str], files: CertificateFiles, error: Exception) -> UnusableFiles:
    code, found, remedy = fault
    reason = (error.reason if isinstance(error, ssl.SSLError) else None) or str(error)
    words = reason.replace("_", " ").lower() if reason.isupper() else reason
    return UnusableFiles(
        code, found.format(certificate=files.certificate, key=files.private_key, error=words), remedy
    )


class _PasswordNeeded(Exception):
    pass


def _no_password() -> str:
    # Without this OpenSSL would ask on the terminal and wait.
    raise _PasswordNeeded
