"""Rate limits of endpoints: a token bucket for each limit and user, or address where there is no user."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from homeserver.core.errors import limit_exceeded
from homeserver.core.token_bucket import RateLimit, TokenBuckets
from homeserver.http.peer_limits import PeerLimits


class RateLimiter:
    """The named rate limits. One object for all listeners, so that a client does not get a share on each.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
    """

    def __init__(
        self,
        limits: Mapping[str, RateLimit],
        peers: PeerLimits | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """peers: what other servers may ask at once; None: as much as they like."""
        self.peers = peers
        self._buckets = {name: TokenBuckets(limit) for name, limit in limits.items()}
        self._monotonic = monotonic

    def __contains__(self, name: object) -> bool:
        return name in self._buckets

    def check(self, name: str, key: str) -> None:
        """Count one request of `key` against the limit `name`; raises M_LIMIT_EXCEEDED over the limit."""
        retry_after_ms = self._buckets[name].take(key, self._monotonic())
        if retry_after_ms:
            raise limit_exceeded("Too many requests", retry_after_ms)
