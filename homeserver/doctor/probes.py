"""Looks: DNS, TCP, TLS and HTTP, each returning what it saw rather than raising. Every wait and every answer has a limit."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from cryptography import x509
from yarl import URL

from homeserver.certificate_files import CertificateFiles, UnusableFiles, load
from homeserver.certificate_names import check_readable
from homeserver.core.canonical_json import CanonicalJSONError, decode_json
from homeserver.doctor.facts import (
    Chain,
    ConnectionFacts,
    Fetch,
    FilesFacts,
    HTTPAnswer,
    ListenerFacts,
    Lookup,
    SRVLookup,
    TLSFacts,
)
from homeserver.doctor.rehearsal import rehearse
from homeserver.federation.addresses import AddressFilter, BlockedAddress
from homeserver.federation.connector import guarded_connector
from homeserver.federation.failures import describe
from homeserver.federation.names import Names, UnresolvedName
from homeserver.federation.transport import trusting_context
from homeserver.federation.well_known import REDIRECTS, NotFollowed, next_hop

CONNECT_SECONDS = 8.0
ANSWER_SECONDS = 15.0
UPLOAD_SECONDS = 30.0
PIECE_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 256 * 1024
KINDS: tuple[Literal["CNAME", "AAAA", "A"], ...] = ("CNAME", "AAAA", "A")
TRUSTED = (0, "ok")
OLD_VERSIONS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """How to look.

    addresses: those that may be connected to; ca_files: authorities beside the system's; well_known_port: 443 outside of tests.
    """

    addresses: AddressFilter
    ca_files: tuple[Path, ...] = ()
    dns_servers: tuple[str, ...] = ()
    well_known_port: int = 443
    user_agent: str = "homeserver doctor"


class _UnreadableCertificate(ValueError):
    """OpenSSL takes a certificate that has parts which are malformed."""


class Probes:
    """The doctor's eyes. Construct it inside a running event loop, and close it."""

    def __init__(self, settings: ProbeSettings) -> None:
        """Raises OSError or ssl.SSLError when a custom authority's file cannot be used."""
        self.settings = settings
        self.names = Names(settings.dns_servers)
        self._trusting = trusting_context(settings.ca_files)
        self._blind = _blind()
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(self.names, settings.addresses, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": settings.user_agent},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            trust_env=False,
        )

    async def close(self) -> None:
        """Free the sockets."""
        await self._session.close()
        await self.names.close()

    # --- DNS ------------------------------------------------------------------

    async def look_up(self, name: str) -> list[Lookup]:
        """The CNAME, AAAA and A records of a name."""
        return list(await asyncio.gather(*(self._records(name, kind) for kind in KINDS)))

    async def addresses(self, name: str) -> Lookup:
        """What connecting to a name would use: /etc/hosts counts too."""
        try:
            return Lookup(name, "addresses", tuple(await self.names.addresses(name)))
        except UnresolvedName as error:
            return Lookup(name, "addresses", error=error.reason, exists=error.exists)

    async def _records(self, name: str, kind: Literal["A", "AAAA", "CNAME"]) -> Lookup:
        try:
            return Lookup(name, kind, tuple(await self.names.records(name, kind)))
        except UnresolvedName as error:
            return Lookup(name, kind, error=error.reason, exists=error.exists)

    async def srv(self, name: str) -> SRVLookup:
        """The SRV records of a service's name."""
        try:
            return SRVLookup(name, tuple(await self.names.srv(name)))
        except UnresolvedName as error:
            return SRVLookup(name, error=error.reason)

    # --- HTTP -----------------------------------------------------------------

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] | None = None,
        follow: bool = True,
        seconds: float | None = None,
    ) -> Fetch:
        """Ask for a page as a peer or a browser does: certificates are checked, redirects followed as far as servers do."""
        hops = [url]
        seconds = ANSWER_SECONDS if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                while True:
                    answer = await self._request(
                        method, URL(hops[-1], encoded=True), headers, body, tls=self._trusting
                    )
                    location = answer.headers.get("location")
                    if not follow or answer.status not in REDIRECTS or not location:
                        return Fetch(url, answer, tuple(hops))
                    try:
                        hops.append(next_hop(hops, location))
                    except NotFollowed as redirect:
                        return Fetch(url, answer, tuple(hops), "redirect", redirect.reason)
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            stage, reason = _failure(error, hops[-1], seconds)
            return Fetch(url, None, tuple(hops), stage, reason)

    async def ask(
        self,
        connection: ConnectionFacts,
        target: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        seconds: float | None = None,
    ) -> Fetch:
        """Ask one address and port, whatever its certificate: that is judged by itself."""
        url = f"https://{connection.where}{target}"
        seconds = ANSWER_SECONDS if seconds is None else seconds
        sent = {"Host": connection.host_header, "Accept": "application/json", **(headers or {})}
        try:
            async with asyncio.timeout(seconds):
                answer = await self._request(
                    method, URL(url, encoded=True), sent, body, tls=self._blind, tls_name=connection.tls_name
                )
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            stage, reason = _failure(error, url, seconds)
            return Fetch(url, None, (url,), stage, reason)
        return Fetch(url, answer, (url,))

    async def _request(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        tls: ssl.SSLContext,
        tls_name: str | None = None,
    ) -> HTTPAnswer:
        async with self._session.request(
            method, url, headers=headers, data=body, allow_redirects=False, ssl=tls, server_hostname=tls_name
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    break
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return HTTPAnswer(response.status, lowered, bytes(content), _json(bytes(content)))

    async def announce(self, url: str, size: int) -> Fetch:
        """Announce a body of `size` bytes without sending it: whoever does not take so much says so at once."""
        parts = urlsplit(url)
        host, port, is_secure = (
            parts.hostname or "",
            parts.port or (443 if parts.scheme == "https" else 80),
            parts.scheme == "https",
        )
        head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {size}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        try:
            address = (await self.names.addresses(host))[0]
            self.settings.addresses.check(address)
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection(
                    address,
                    port,
                    ssl=self._trusting if is_secure else None,
                    server_hostname=host if is_secure else None,
                )
                try:
                    writer.write(head.encode())
                    status = (await reader.readline()).split()
                finally:
                    await _close(writer)
            return Fetch(url, HTTPAnswer(int(status[1]), {}, b""), (url,))
        except (OSError, TimeoutError, ValueError, IndexError) as error:
            return Fetch(url, None, (url,), "connect", str(error) or "no answer")

    async def upload(self, url: str, head: bytes, size: int) -> Fetch:
        """Send a body of `size` bytes that begins with `head`, in pieces: a limit may be noticed only when it is passed."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        body = _in_pieces(head, size)
        return await self.fetch(
            url, method="POST", headers=headers, body=body, follow=False, seconds=UPLOAD_SECONDS
        )

    # --- TCP and TLS ----------------------------------------------------------

    async def connect(self, found: ConnectionFacts) -> ConnectionFacts:
        """Whether a port can be reached, and how it speaks TLS."""
        error = await self._tcp(found.address, found.port)
        if error is not None:
            return replace(found, tcp_error=error)
        return replace(found, tls=await self._handshake(found))

    async def listener(self, url: str) -> ListenerFacts:
        """Whether one of our own listeners is open, and its certificate. url: with an address, such as http://127.0.0.1:8008."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        error = await self._tcp(host, port)
        if error is not None or parts.scheme != "https":
            return ListenerFacts(url, error[1] if error else None)
        found = ConnectionFacts(host, host, port, host, parts.netloc)
        return ListenerFacts(url, certificates=await self._shown(found))

    async def _shown(self, found: ConnectionFacts) -> tuple[x509.Certificate, ...]:
        try:
            return (await _shake_hands(found, self._blind))[0]
        except (OSError, TimeoutError, ValueError):
            return ()  # what is wrong there is found when it is looked at as others do

    async def certificate_files(self, files: CertificateFiles) -> FilesFacts:
        """What others would be shown if the server served these files."""
        return await asyncio.to_thread(self._rehearse, files)

    def _rehearse(self, files: CertificateFiles) -> FilesFacts:
        try:
            serving, _ = load(files)
            certificates = _certificates(rehearse(serving, self._blind))
        except UnusableFiles as error:
            return FilesFacts(files.certificate, error)
        except (ssl.SSLError, ValueError) as error:
            found = f"tls_certificate_path: no handshake comes about with {files.certificate} ({_tls_words(error)})"
            remedy = "get another certificate, with an RSA key or one on an elliptic curve"
            return FilesFacts(files.certificate, UnusableFiles("certificate-unusable", found, remedy))
        try:
            rehearse(serving, self._trusting_any_name)
            trust = TRUSTED
        except ssl.SSLError as error:
            trust = _distrust(error)
        return FilesFacts(files.certificate, chain=Chain(certificates, *trust), seen_at_ms=now_ms())

    async def _tcp(self, address: str, port: int) -> tuple[str, str] | None:
        """Why no connection comes about, as in `ConnectionFacts.tcp_error`; None when one does."""
        try:
            self.settings.addresses.check(address)
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(address, port)
            await _close(writer)
        except BlockedAddress as error:
            return "blocked", str(error)
        except TimeoutError:
            return "timeout", f"no answer within {CONNECT_SECONDS:.0f} s"
        except ConnectionRefusedError:
            return "refused", "connection refused"
        except OSError as error:
            return "unreachable", error.strerror or str(error)
        return None

    async def _handshake(self, found: ConnectionFacts) -> TLSFacts:
        try:
            seen = await _shake_hands(found, self._blind)
        except _UnreadableCertificate as error:
            return TLSFacts(error=f"its certificate cannot be read: {error}")
        except (OSError, TimeoutError, ValueError) as error:
            reason = "the handshake got no answer" if isinstance(error, TimeoutError) else _tls_words(error)
            return TLSFacts(
                error=reason,
                old_version=await self._old_version(found),
                speaks_plain_http=await _speaks_http(found),
            )
        certificates, version, cipher = seen
        return TLSFacts(Chain(certificates, *await self._trust(found)), version, cipher)

    async def _trust(self, found: ConnectionFacts) -> tuple[int, str]:
        """OpenSSL's verdict on the chain, the name left aside."""
        try:
            await _shake_hands(found, self._trusting_any_name)
        except (OSError, TimeoutError, ValueError) as error:
            return _distrust(error)
        return TRUSTED

    @cached_property
    def _trusting_any_name(self) -> ssl.SSLContext:
        """Checks the chain, not the name: that is judged by itself, so that two faults are two findings."""
        context = trusting_context(self.settings.ca_files)
        context.check_hostname = False
        return context

    async def _old_version(self, found: ConnectionFacts) -> str | None:
        context = _blind()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with contextlib.suppress(ValueError):  # an OpenSSL without these versions
            context.minimum_version, context.maximum_version = OLD_VERSIONS
            try:
                return (await _shake_hands(found, context))[1]
            except (OSError, TimeoutError):  # and what cannot be read, by the ValueError above
                return None
        return None


async def _shake_hands(
    found: ConnectionFacts, context: ssl.SSLContext
) -> tuple[tuple[x509.Certificate, ...], str, str]:
    """The certificates, the version and the cipher of a handshake."""
    async with asyncio.timeout(CONNECT_SECONDS):
        _, writer = await asyncio.open_connection(
            found.address, found.port, ssl=context, server_hostname=found.tls_name
        )
    try:
        connection = writer.get_extra_info("ssl_object")
        cipher = connection.cipher()
        return _certificates(connection), connection.version() or "", cipher[0] if cipher else ""
    finally:
        await _close(writer)


def _distrust(error: Exception) -> tuple[int, str]:
    """Why a handshake that checks the chain failed, as in `Chain`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_code, error.verify_message
    return -1, str(error)


def _certificates(connection: Any) -> tuple[x509.Certificate, ...]:
    """All that the server shows, each readable in all its parts. Raises _UnreadableCertificate."""
    try:
        # Public from Python 3.13 on, as DER bytes; before it stands a level lower.
        if hasattr(connection, "get_unverified_chain"):
            found = [x509.load_der_x509_certificate(each) for each in connection.get_unverified_chain()]
        else:
            shown = connection._sslobj.get_unverified_chain() or ()
            found = [x509.load_pem_x509_certificate(each.public_bytes().encode()) for each in shown]
        for each in found:
            check_readable(each)
    except ValueError as error:
        raise _UnreadableCertificate(str(error) or "it is malformed") from error
    if not found:
        raise _UnreadableCertificate("there is none")
    return tuple(found)


async def _in_pieces(head: bytes, size: int) -> AsyncIterator[bytes]:
    yield head
    piece = bytes(PIECE_BYTES)
    for start in range(len(head), size, PIECE_BYTES):
        yield piece[: size - start]


async def _speaks_http(found: ConnectionFacts) -> bool:
    """Whether plain HTTP is spoken where TLS was expected."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(found.address, found.port)
            try:
                writer.write(
                    b"GET /_matrix/federation/v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                )
                return (await reader.read(5)) == b"HTTP/"
            finally:
                await _close(writer)
    return False


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()


def _blind() -> ssl.SSLContext:
    """Takes any certificate: what is wrong with it is found out apart from what else there is to see."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _json(content: bytes) -> Any:
    try:
        return decode_json(content)
    except CanonicalJSONError:
        return None


def _tls_words(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return str(error) or type(error).__name__


def _failure(error: Exception, url: str, seconds: float) -> tuple[str, str]:
    """How far a request came, and why no further."""
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return "timeout", f"no complete answer within {seconds:.0f} s"
    parts = urlsplit(url)
    return describe(error, f"{parts.hostname} port {parts.port or 443}", parts.hostname or "")


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
