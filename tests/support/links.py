"""Faults between the servers of a test: each directed link can be cut and healed.

    links = Links([a.server_name, b.server_name])
    a.middlewares.append(links.middleware(a.server_name))      # before it starts
    links.set(b.server_name, a.server_name, Link.CUT)      # what b sends to a does not arrive

The requests are real ones over HTTPS; the fault is where they arrive. Requests without a signature (keys) always pass.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum
from itertools import permutations

from aiohttp import web

_ORIGIN = re.compile(r'origin="?([^",]+)')

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Link(Enum):
    """What happens to requests on a link."""

    UP = "up"
    CUT = "cut"
    """The connection is reset, and the request never seen."""
    MUTE = "mute"
    """The request is handled, and the answer lost: so it is repeated, and arrives twice."""
    HELD = "held"
    """The request waits until the link is something else."""
    UNSENT = "unsent"
    """Transactions are cut, and all other requests pass: so what was sent before comes later than what is asked now."""


class Links:
    """The links between some servers, all up at first."""

    def __init__(self, names: Iterable[str]) -> None:
        self._links = dict.fromkeys(permutations(names, 2), Link.UP)
        self._changed = asyncio.Event()

    def state(self, origin: str, destination: str) -> Link:
        """What the link from `origin` to `destination` is."""
        return self._links.get((origin, destination), Link.UP)

    def set(self, origin: str, destination: str, link: Link) -> None:
        """Cut or heal what `origin` asks of `destination`."""
        self._links[origin, destination] = link
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def heal(self) -> None:
        """All links are up."""
        for origin, destination in self._links:
            self.set(origin, destination, Link.UP)

    def is_any(self, link: Link) -> bool:
        """Whether some link is so."""
        return link in self._links.values()

    def middleware(self, destination: str) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
        """The fault before one server."""

        @web.middleware
        async def fault(request: web.Request, handler: Handler) -> web.StreamResponse:
            found = _ORIGIN.search(request.headers.get("Authorization", ""))
            origin = found[1] if found else ""
            while self.state(origin, destination) is Link.HELD:
                await self._changed.wait()
            link = self.state(origin, destination)
            if link is Link.UNSENT:
                link = Link.CUT if request.path.startswith("/_matrix/federation/v1/send/") else Link.UP
            if link is Link.UP:
                return await handler(request)
            response = await handler(request) if link is Link.MUTE else web.Response(status=503)
            if request.transport is not None:
                request.transport.abort()
            return response

        return fault
