"""How many requests of one server are worked on at once and how fast: rc_federation."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from homeserver.core.errors import limit_exceeded

MAX_PEERS = 10_000
"""Servers that are remembered while they ask nothing: the one that has asked nothing for longest goes first."""


class FederationLimit(Protocol):
    """Times are milliseconds."""

    @property
    def window_size(self) -> int:
        """The time in which requests are counted."""
        ...

    @property
    def sleep_limit(self) -> int:
        """So many in that time are worked on at once."""
        ...

    @property
    def sleep_delay(self) -> int:
        """Those over it wait so long."""
        ...

    @property
    def reject_limit(self) -> int:
        """So many may wait; more are refused."""
        ...

    @property
    def concurrent(self) -> int:
        """So many are worked on at the same time."""
        ...


@dataclass(slots=True)
class _Peer:
    free: asyncio.Semaphore
    recent: deque[float] = field(default_factory=deque)
    unfinished: int = 0
    waiting: int = 0


class PeerLimits:
    """Gives each server its turns."""

    def __init__(
        self,
        limit: FederationLimit,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._sleep = sleep
        self._peers: OrderedDict[str, _Peer] = OrderedDict()

    @asynccontextmanager
    async def turn(self, origin: str) -> AsyncIterator[None]:
        """Wait for the turn of a request of this server; it lasts as long as the block.

        Raises M_LIMIT_EXCEEDED when too many of its requests wait already.
        """
        peer = self._peers.setdefault(origin, _Peer(asyncio.Semaphore(self._limit.concurrent)))
        self._peers.move_to_end(origin)
        if peer.waiting >= self._limit.reject_limit:
            raise limit_exceeded(
                f"{peer.waiting} requests of {origin} wait already", max(1, int(self._limit.sleep_delay))
            )
        peer.unfinished += 1
        try:
            peer.waiting += 1
            try:
                if self._is_over(peer):
                    await self._sleep(self._limit.sleep_delay / 1000)
                await peer.free.acquire()
            finally:
                peer.waiting -= 1
            try:
                yield
            finally:
                peer.free.release()
        finally:
            peer.unfinished -= 1
            self._forget_idle()

    def _is_over(self, peer: _Peer) -> bool:
        """Count a request; whether it is one too many for the time."""
        now = self._monotonic()
        while peer.recent and peer.recent[0] <= now - self._limit.window_size / 1000:
            peer.recent.popleft()
        peer.recent.append(now)
        return len(peer.recent) > self._limit.sleep_limit

    def _forget_idle(self) -> None:
        if len(self._peers) > MAX_PEERS:
            idle = next((name for name, peer in self._peers.items() if not peer.unfinished), None)
            if idle is not None:
                del self._peers[idle]
