"""Proof that a name is ours: what an ACME server finds when it comes to look.

A responder is entered for the time of an order, and given the challenges to answer.
"""

from __future__ import annotations

import asyncio
import datetime
import errno
import hashlib
import ssl
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from acme import challenges
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWK

from homeserver.config.settings import ChallengeType
from homeserver.tls import ACME_PROTOCOL, CertificateStore, self_signed, write_whole

from .errors import ChallengeFailed
from .keys import private_pem

HTTP_PATH = "/.well-known/acme-challenge/{token}"
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")


@challenges.ChallengeResponse.register
class TLSALPN01Response(challenges.KeyAuthorizationChallengeResponse):
    """That the challenge may be looked at."""

    typ = "tls-alpn-01"


@challenges.Challenge.register
class TLSALPN01(challenges.KeyAuthorizationChallenge):
    """The challenge that the library left out with its version 5.

    Spec: https://www.rfc-editor.org/rfc/rfc8737#section-3
    """

    typ = "tls-alpn-01"
    response_cls = TLSALPN01Response

    def validation(self, account_key: JWK, **_: Any) -> bytes:
        """What stands in the challenge's certificate: the digest of the key authorization."""
        return hashlib.sha256(self.key_authorization(account_key).encode()).digest()


class Responder(Protocol):
    """Answers challenges of one kind."""

    kind: ChallengeType

    async def __aenter__(self) -> Self:
        """Be ready to answer. Raises ChallengeFailed."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Answer no more."""
        ...

    async def present(self, name: str, challenge: challenges.Challenge, account_key: JWK) -> None:
        """From now on whoever looks for the name finds the proof. Raises ChallengeFailed."""
        ...


class HTTP01Responder:
    """Opens a port for plain HTTP, which answers challenges and nothing else.

    Spec: https://www.rfc-editor.org/rfc/rfc8555#section-8.3
    """

    kind: ChallengeType = "http-01"

    def __init__(self, addresses: Sequence[str], port: int) -> None:
        """Where to listen."""
        self._addresses = addresses
        self._port = port
        self._answers: dict[str, str] = {}
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get(HTTP_PATH, self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        for address in self._addresses:
            try:
                await web.TCPSite(self._runner, address, self._port).start()
            except OSError as error:
                await self.__aexit__(None, None, None)
                raise ChallengeFailed(self._explain(address, error)) from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answers.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def present(self, name: str, challenge: challenges.Challenge, account_key: JWK) -> None:
        """Answer the challenge's path with its key authorization."""
        assert isinstance(challenge, challenges.HTTP01)
        self._answers[challenge.encode("token")] = challenge.validation(account_key)

    async def _answer(self, request: web.Request) -> web.Response:
        answer = self._answers.get(request.match_info["token"])
        if answer is None:
            raise web.HTTPNotFound
        return web.Response(body=answer.encode(), content_type="application/octet-stream")

    def _explain(self, address: str, error: OSError) -> str:
        """The port cannot be opened, and what to do."""
        match error.errno:
            case errno.EACCES:
                remedy = (
                    "permit it (with systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or set acme.port to one above 1023 "
                    "and forward port 80 to it"
                )
            case errno.EADDRINUSE:
                remedy = (
                    "another program has it. Set acme.port to a free one, and have that program forward "
                    "/.well-known/acme-challenge/ to it"
                )
            case _:
                remedy = "see acme.port and acme.bind_addresses"
        return f"port {self._port} of {address} cannot be opened ({error.strerror}). What to do: {remedy}"


class TLSALPN01Responder:
    """Has the TLS listeners show a certificate of the challenge to those who ask for it, and to nobody else.

    Spec: https://www.rfc-editor.org/rfc/rfc8737#section-3
    """

    kind: ChallengeType = "tls-alpn-01"

    def __init__(self, store: CertificateStore, directory: Path) -> None:
        """`directory`: where the certificate is for a moment, because `ssl` reads files only."""
        self._store = store
        self._directory = directory

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.challenges.clear()

    async def present(self, name: str, challenge: challenges.Challenge, account_key: JWK) -> None:
        """Show the certificate that proves the name."""
        assert isinstance(challenge, TLSALPN01)
        proof = challenge.validation(account_key)
        self._store.challenges[name] = await asyncio.to_thread(self._context, name, proof)

    def _context(self, name: str, proof: bytes) -> ssl.SSLContext:
        path = self._directory / "challenge.pem"
        write_whole(path, challenge_certificate(name, proof), 0o600)
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
        finally:
            path.unlink()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([ACME_PROTOCOL])
        return context


def challenge_certificate(name: str, proof: bytes) -> bytes:
    """The certificate that proves a name to an ACME server, and its key, in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    # In DER an OCTET STRING is 4, its length, its content.
    identifier = x509.UnrecognizedExtension(ACME_IDENTIFIER, bytes((4, len(proof))) + proof)
    certificate = (
        self_signed("ACME challenge", key, [x509.DNSName(name)], datetime.timedelta(days=1))
        .add_extension(identifier, critical=True)
        .sign(key, hashes.SHA256())
    )
    return private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)
