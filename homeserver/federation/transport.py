"""Signed requests to other servers, with every limit.

Spec: https://spec.matrix.org/v1.19/server-server-api/#request-authentication
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from signedjson.types import SigningKey
from yarl import URL

from homeserver.core.canonical_json import CanonicalJSONError, decode_json, encode_canonical
from homeserver.federation import metrics
from homeserver.federation.authentication import authorization_header
from homeserver.federation.connector import guarded_connector
from homeserver.federation.discovery import Candidate, Destination, DiscoveryError
from homeserver.federation.errors import FederationError
from homeserver.federation.failures import answered, connection_lost, connection_refused
from homeserver.federation.locator import Locator
from homeserver.federation.names import Names
from homeserver.federation.settings import OutboundSettings

Query = Mapping[str, str] | Iterable[tuple[str, str]]
Body = Mapping[str, Any] | bytes

_DECODE_IN_THREAD_ABOVE = 64 * 1024
_MAX_ERROR_BYTES = 256 * 1024


def matrix_path(*segments: str) -> str:
    """A path of percent-encoded segments: `matrix_path("_matrix", "federation", "v1", "state", room_id)`.

    Raises ValueError for a segment that would change the path (empty, "." or "..").
    """
    if any(segment in ("", ".", "..") for segment in segments):
        raise ValueError(f"a path cannot have the segments {segments!r}")
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def trusting_context(ca_files: Iterable[Path]) -> ssl.SSLContext:
    """Checks certificates by the system's authorities and custom ones. Reads files, for over 10 ms.

    Raises OSError or ssl.SSLError if a custom authority's file cannot be used.
    """
    context = ssl.create_default_context()
    for path in ca_files:
        context.load_verify_locations(cafile=str(path))
    return context


def tls_context(settings: OutboundSettings) -> ssl.SSLContext:
    """The TLS settings of outbound connections. Raises OSError or ssl.SSLError, as `trusting_context` does."""
    context = trusting_context(settings.custom_ca_files)
    if not settings.verify_certificates:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class FederationClient:
    """Asks other servers in the name of `server_name`, signing with `signing_key`.

    Construct it inside a running event loop, and close it. `clock` gives seconds since the epoch, for caches.
    """

    def __init__(
        self,
        server_name: str,
        signing_key: SigningKey,
        settings: OutboundSettings | None = None,
        *,
        clock: Callable[[], float] = time.time,
        own_trouble: Callable[[], str] = lambda: "",
    ) -> None:
        """`own_trouble` says why another server may not accept our signature; asked when one has not."""
        self._own_trouble = own_trouble
        self.server_name = server_name
        self.settings = settings or OutboundSettings()
        self._signing_key = signing_key
        self._tls = tls_context(self.settings)
        self.names = Names(self.settings.dns_servers)
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(
                self.names,
                self.settings.addresses,
                limit=self.settings.connections,
                keepalive_timeout=self.settings.keepalive,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self.settings.user_agent},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_timeout),
            trust_env=False,
        )
        self.locator = Locator(
            self.names, self._session, self._tls, well_known_port=self.settings.well_known_port, clock=clock
        )
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._slot_users: Counter[str] = Counter()

    async def __aenter__(self) -> FederationClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. Running requests fail."""
        await self.locator.close()
        await self._session.close()
        await self.names.close()

    async def request(
        self,
        destination: str,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Body | None = None,
        signed: bool = True,
        timeout: float | None = None,
        max_response_bytes: int | None = None,
    ) -> Any:
        """Ask the server named `destination` and return the decoded JSON of its 2xx answer.

        `path` is percent-encoded already (`matrix_path`). `body` is a JSON object, or the canonical JSON
        bytes of one. `timeout` (seconds) covers everything: waiting for a slot, discovery, connecting, and
        the answer to its last byte. `max_response_bytes` counts decompressed bytes; reading stops there.

        Raises FederationError, whatever fails.
        """
        limit = self.settings.max_response_bytes if max_response_bytes is None else max_response_bytes
        async with self.stream(
            destination, method, path, query=query, body=body, signed=signed, timeout=timeout
        ) as response:
            content = await _read(response, destination, limit)
            return await _decode(destination, content)

    @asynccontextmanager
    async def stream(
        self,
        destination: str,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Body | None = None,
        signed: bool = True,
        timeout: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """As `request`, but the 2xx answer is handed over unread, for those that are not JSON (media).

        Whoever reads it keeps count of the bytes. What fails while reading becomes a FederationError too.
        """
        seconds = self.settings.request_timeout if timeout is None else timeout
        started = time.monotonic()
        result = "aborted"  # cancelled, or by whoever reads the answer
        try:
            async with (
                asyncio.timeout(seconds) as deadline,
                self._slot(destination),
                self._open(destination, method, path, query, body, signed) as response,
            ):
                yield response
            result = "ok"
        except FederationError as error:
            result = error.stage
            raise
        except TimeoutError as error:
            result = "timeout"
            if not deadline.expired():
                raise connection_lost(destination, error) from error
            raise FederationError(
                destination, "timeout", f"no complete answer within {seconds:g} s"
            ) from error
        except (aiohttp.ClientError, ConnectionError, ssl.SSLError) as error:
            failure = connection_lost(destination, error)
            result = failure.stage
            raise failure from error
        finally:
            metrics.requests.labels(result).inc()
            metrics.request_seconds.observe(time.monotonic() - started)

    @asynccontextmanager
    async def _slot(self, destination: str) -> AsyncIterator[None]:
        slot = self._slots.setdefault(destination, asyncio.Semaphore(self.settings.concurrent_requests))
        self._slot_users[destination] += 1
        try:
            async with slot:
                yield
        finally:
            self._slot_users[destination] -= 1
            if not self._slot_users[destination]:
                del self._slot_users[destination], self._slots[destination]

    @asynccontextmanager
    async def _open(
        self, destination: str, method: str, path: str, query: Query, body: Body | None, signed: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session.closed:
            raise FederationError(destination, "request", "this server is shutting down")
        self._check_allowed(destination)
        encoded = urlencode(list(query.items() if isinstance(query, Mapping) else query), quote_via=quote)
        target = f"{path}?{encoded}" if encoded else path
        content, headers = self._prepare(destination, method, target, body, signed)
        response = await self._send(await self._locate(destination), method, target, content, headers)
        try:
            if not 200 <= response.status < 300:
                refusal = await answered(destination, response, _MAX_ERROR_BYTES)
                if signed and response.status == 401 and (trouble := self._own_trouble()):
                    refusal.reason += f"; {trouble}"
                raise refusal
            yield response
        finally:
            # Gives the connection back if the answer was read to its end, and closes it otherwise.
            response.release() if response.content.at_eof() else response.close()

    def _check_allowed(self, destination: str) -> None:
        if destination == self.server_name:
            raise FederationError(destination, "request", "this server does not federate with itself")
        whitelist = self.settings.domain_whitelist
        if whitelist is not None and destination not in whitelist:
            raise FederationError(destination, "blocked", "not in federation_domain_whitelist")

    def _prepare(
        self, destination: str, method: str, target: str, body: Body | None, signed: bool
    ) -> tuple[bytes | None, dict[str, str]]:
        try:
            content = body if body is None or isinstance(body, bytes) else encode_canonical(body)
        except CanonicalJSONError as error:
            raise FederationError(
                destination, "request", f"the body cannot be sent: {error.reason}"
            ) from error
        headers = {"Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        if signed:
            headers["Authorization"] = authorization_header(
                method, target, self.server_name, destination, content, self._signing_key
            )
        return content, headers

    async def _locate(self, destination: str) -> Destination:
        try:
            return await self.locator.locate(destination)
        except DiscoveryError as error:
            raise FederationError(destination, "discovery", error.reason) from error

    async def _send(
        self, found: Destination, method: str, target: str, content: bytes | None, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """Send to the first candidate that can be connected to."""
        failures: list[FederationError] = []
        for candidate in found.candidates:
            try:
                return await self._session.request(
                    method,
                    _url(candidate, target),
                    data=content,
                    headers={**headers, "Host": found.host_header},
                    ssl=self._tls,
                    server_hostname=found.tls_name,
                    allow_redirects=False,
                )
            except (
                aiohttp.ClientConnectorError,
                aiohttp.ConnectionTimeoutError,
                aiohttp.InvalidURL,
            ) as error:
                failures.append(connection_refused(found, candidate, error))
        self.locator.forget(found.server_name)
        if len(failures) == 1:
            raise failures[0]
        reasons = "; ".join(failure.reason for failure in failures)
        raise FederationError(found.server_name, failures[0].stage, reasons)


def _url(candidate: Candidate, target: str) -> URL:
    host = f"[{candidate.host}]" if ":" in candidate.host else candidate.host
    # `encoded`: the target must go out exactly as it was signed.
    return URL(f"https://{host}:{candidate.port}{target}", encoded=True)


async def read_pieces(
    response: aiohttp.ClientResponse, destination: str, limit: int, *, size: int = 0
) -> AsyncIterator[bytes]:
    """The body in pieces of `size` bytes or some more, up to `limit` bytes after decompression.

    Raises FederationError as soon as it is longer.
    """
    too_long = FederationError(
        destination, "limit", f"the answer is larger than {limit} bytes", status=response.status
    )
    if response.content_length is not None and response.content_length > limit:
        raise too_long
    count = 0
    piece = bytearray()
    async for chunk in response.content.iter_any():
        count += len(chunk)
        if count > limit:
            raise too_long
        piece += chunk
        if len(piece) >= size:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


async def _read(response: aiohttp.ClientResponse, destination: str, limit: int) -> bytearray:
    content = bytearray()
    async for piece in read_pieces(response, destination, limit):
        content += piece
    return content


async def _decode(destination: str, content: bytearray) -> Any:
    try:
        if len(content) > _DECODE_IN_THREAD_ABOVE:
            return await asyncio.to_thread(lambda: decode_json(bytes(content)))
        return decode_json(bytes(content))
    except CanonicalJSONError as error:
        raise FederationError(destination, "json", f"the answer is not JSON: {error.reason}") from error
