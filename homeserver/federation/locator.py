"""Runs `discovery` with real DNS and HTTPS, and remembers what it found."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable

import aiohttp
from yarl import URL

from homeserver.federation import metrics
from homeserver.federation.discovery import (
    Answer,
    Destination,
    FetchWellKnown,
    LookUpSRV,
    Question,
    SRVAnswer,
    WellKnownAnswer,
    discover,
)
from homeserver.federation.failures import describe
from homeserver.federation.names import Names, UnresolvedName
from homeserver.federation.well_known import (
    MAX_BODY_BYTES,
    REDIRECTS,
    NotFollowed,
    WellKnownCache,
    next_hop,
    parse_well_known,
    well_known_url,
)

DESTINATION_LIFETIME = 300.0
WELL_KNOWN_TIMEOUT = 15.0
RETRY_WELL_KNOWN_AFTER = 600.0
_CAPACITY = 10_000


class _WellKnownFailure(Exception):
    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.temporary = temporary


class Locator:
    """Finds servers. `locate` is cheap to call before every request.

    `session` must use a guarded connector; `tls` is the context for .well-known. `clock` gives seconds since
    the epoch.
    """

    def __init__(
        self,
        names: Names,
        session: aiohttp.ClientSession,
        tls: ssl.SSLContext,
        *,
        well_known_port: int = 443,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._names = names
        self._session = session
        self._tls = tls
        self._port = well_known_port
        self._clock = clock
        self._well_known = WellKnownCache()
        self._known: OrderedDict[str, tuple[Destination, float]] = OrderedDict()
        self._running: dict[str, asyncio.Task[Destination]] = {}

    async def locate(self, server_name: str) -> Destination:
        """Where `server_name` is. Concurrent callers share one discovery. Raises DiscoveryError."""
        cached = self._known.get(server_name)
        if cached is not None and self._clock() < cached[1]:
            return cached[0]
        task = self._running.get(server_name)
        if task is None:
            task = asyncio.create_task(self._discover(server_name))
            self._running[server_name] = task
            task.add_done_callback(lambda _: self._running.pop(server_name, None))
        return await asyncio.shield(task)

    def forget(self, server_name: str) -> None:
        """What was found for `server_name` does not work: discover again next time.

        The .well-known is fetched again only if it is some minutes old, so that a dead server is not asked
        all the time.
        """
        if self._known.pop(server_name, None) is not None:
            self._well_known.expire_if_older(server_name, RETRY_WELL_KNOWN_AFTER, self._clock())

    async def close(self) -> None:
        """Stop running discoveries."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _discover(self, server_name: str) -> Destination:
        steps = discover(server_name, random.random)
        try:
            question = next(steps)
            while True:
                question = steps.send(await self._answer(question))
        except StopIteration as finished:
            destination: Destination = finished.value
        now = self._clock()
        until = now + DESTINATION_LIFETIME
        if self._well_known.expires_at(server_name):
            until = min(until, self._well_known.expires_at(server_name))
        self._known[server_name] = (destination, until)
        self._known.move_to_end(server_name)
        if len(self._known) > _CAPACITY:
            self._known.popitem(last=False)
        return destination

    async def _answer(self, question: Question) -> Answer:
        match question:
            case FetchWellKnown(hostname):
                return await self._ask_well_known(hostname)
            case LookUpSRV(name):
                return await self._look_up_srv(name)

    async def _look_up_srv(self, name: str) -> SRVAnswer:
        try:
            records = await self._names.srv(name)
        except UnresolvedName as error:
            # Not knowing is no reason to stop: wherever the next steps lead, the certificate must fit the
            # same name.
            return SRVAnswer((), f"could not be looked up: {error.reason}")
        return SRVAnswer(tuple(records), "found" if records else "no record")

    async def _ask_well_known(self, hostname: str) -> WellKnownAnswer:
        cached = self._well_known.get(hostname, self._clock())
        if cached is not None:
            return cached
        try:
            async with asyncio.timeout(WELL_KNOWN_TIMEOUT):
                delegated, headers = await self._fetch(hostname)
        except _WellKnownFailure as failure:
            metrics.well_known_fetches.labels("temporary failure" if failure.temporary else "none").inc()
            return self._well_known.fail(hostname, failure.reason, self._clock(), temporary=failure.temporary)
        except TimeoutError:
            metrics.well_known_fetches.labels("temporary failure").inc()
            reason = f"no complete answer within {WELL_KNOWN_TIMEOUT:.0f} s"
            return self._well_known.fail(hostname, reason, self._clock(), temporary=True)
        metrics.well_known_fetches.labels("found").inc()
        return self._well_known.succeed(hostname, delegated, headers, self._clock())

    async def _fetch(self, hostname: str) -> tuple[str, dict[str, str]]:
        """Follow redirects to a valid answer. The connector checks the address at each hop."""
        hops = [well_known_url(hostname, self._port)]
        try:
            while True:
                async with self._session.get(URL(hops[-1]), ssl=self._tls, allow_redirects=False) as response:
                    if response.status not in REDIRECTS:
                        return await _read(response)
                    location = response.headers.get("Location")
                    if not location:
                        raise _WellKnownFailure("redirected without a Location", temporary=False)
                    hops.append(next_hop(hops, location))
        except NotFollowed as redirect:
            raise _WellKnownFailure(redirect.reason, temporary=False) from redirect
        except aiohttp.ClientConnectorError as error:
            _, reason = describe(error, f"{error.host} port {error.port}", error.host)
            raise _WellKnownFailure(reason, temporary=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _WellKnownFailure(str(error) or type(error).__name__, temporary=True) from error


async def _read(response: aiohttp.ClientResponse) -> tuple[str, dict[str, str]]:
    if response.status != 200:
        temporary = response.status == 429 or response.status >= 500
        raise _WellKnownFailure(f"answered with status {response.status}", temporary=temporary)
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            response.close()
            raise _WellKnownFailure(f"the answer is larger than {MAX_BODY_BYTES} bytes", temporary=False)
    try:
        delegated = parse_well_known(bytes(body))
    except ValueError as error:
        raise _WellKnownFailure(f"the answer is invalid: {error}", temporary=False) from error
    return delegated, dict(response.headers)
