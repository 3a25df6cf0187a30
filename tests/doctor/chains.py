"""Certificates that are wrong in one way each."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

# Names that break off.
JUNK = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x87\x01\x07")


class Maker:
    """Makes certificates by an authority of its own, which nobody trusts unless told to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.certificate("root", self.root_key, self.root_key, ca=True)
        self.between_key = ec.generate_private_key(ec.SECP256R1())
        self.between = self.certificate("between", self.between_key, self.root_key, issuer="root", ca=True)
        self.root_path = directory / "root.pem"
        self.root_path.write_bytes(self.root.public_bytes(serialization.Encoding.PEM))

    def certificate(
        self,
        subject: str,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey,
        by: ec.EllipticCurvePrivateKey,
        *,
        issuer: str | None = None,
        names: tuple[str, ...] = (),
        ca: bool = False,
        days: float = 60,
        since_days: float = -1,
    ) -> x509.Certificate:
        """A certificate; of the authority itself when no issuer is given."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named(subject))
            .issuer_name(_named(issuer or subject))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=min(since_days, days - 1)))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False
            )
        if issuer not in (None, "root"):
            where = x509.UniformResourceIdentifier("http://authority.example/between.der")
            access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
        return builder.sign(by, hashes.SHA256())

    def context(
        self, name: str, *, whole_chain: bool = True, by_root: bool = False, **lifetime: float
    ) -> ssl.SSLContext:
        """TLS of a server with a certificate for the name, by the authority in between or by the root."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, by = ("root", self.root_key) if by_root else ("between", self.between_key)
        leaf = self.certificate(name, key, by, issuer=issuer, names=(name,), **lifetime)
        chain = [leaf, self.between] if whole_chain and not by_root else [leaf]
        return self.serving(chain, key)

    def files(self, directory: Path, name: str, **lifetime: float) -> dict[str, bytes]:
        """What certbot leaves for a name: fullchain.pem, cert.pem and privkey.pem, written to a directory and returned."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.certificate(name, key, self.between_key, issuer="between", names=(name,), **lifetime)
        certificate, between = (
            each.public_bytes(serialization.Encoding.PEM) for each in (leaf, self.between)
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        made = {"fullchain.pem": certificate + between, "cert.pem": certificate, "privkey.pem": private}
        for file, content in made.items():
            (directory / file).write_bytes(content)
        return made

    def self_signed(self, name: str) -> ssl.SSLContext:
        """TLS of a server whose certificate is its own word."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self.serving([self.certificate(name, key, key, names=(name,), ca=True)], key)

    def long(self, name: str, *, shown: int) -> ssl.SSLContext:
        """TLS of a server whose chain has two authorities in between; shown: how many of its certificates it shows."""
        lower_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        lower = self.certificate("lower", lower_key, self.between_key, issuer="between", ca=True)
        leaf = self.certificate(name, key, lower_key, issuer="lower", names=(name,))
        return self.serving([leaf, lower, self.between][:shown], key)

    def with_extension(self, extension: x509.ExtensionType) -> ssl.SSLContext:
        """TLS of a server that vouches for itself, with a certificate that has this extension."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self.serving([with_extension(key, extension)], key)

    def serving(self, chain: list[x509.Certificate], key: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
        """TLS of a server with this chain."""
        path = self._directory / f"chain-{chain[0].serial_number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def with_extension(key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType) -> x509.Certificate:
    """A certificate that vouches for itself and has this extension, right or not."""
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(
        _named("x"), _named("x"), key.public_key(), 1, now, now + datetime.timedelta(1)
    )
    return builder.add_extension(extension, critical=False).sign(key, hashes.SHA256())


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
