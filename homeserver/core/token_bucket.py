"""Token buckets: so many actions at once, so many a second afterwards. Pure: the caller brings the time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol


class RateLimit(Protocol):
    """`burst_count` actions at once; afterwards the bucket is refilled with `per_second` actions a second."""

    @property
    def per_second(self) -> float:
        """How many actions a second the bucket is refilled with."""
        ...

    @property
    def burst_count(self) -> int:
        """How many actions a full bucket holds."""
        ...


class TokenBuckets:
    """One bucket per key (a user ID, an address). At most `max_keys` are kept: the one unused for longest
    goes first.
    """

    def __init__(self, limit: RateLimit, *, max_keys: int = 50_000) -> None:
        self.limit = limit
        self._max_keys = max_keys
        self._buckets: OrderedDict[str, tuple[float, float]] = (
            OrderedDict()
        )  # key -> (tokens, time in seconds)

    def take(self, key: str, now: float, *, cost: float = 1.0) -> int:
        """Take `cost` tokens at `now` (seconds, monotonic).

        Returns 0 when there were enough; otherwise the milliseconds until there will be, and takes nothing.
        """
        wait = self.wait_ms(key, now, cost=cost)
        if wait == 0:
            self._buckets[key] = (self._tokens(key, now) - cost, now)
            self._buckets.move_to_end(key)
            if len(self._buckets) > self._max_keys:
                self._buckets.popitem(last=False)
        return wait

    def give_back(self, key: str, now: float, *, cost: float = 1.0) -> None:
        """Put tokens back that were taken for something that turned out not to count."""
        tokens = min(float(self.limit.burst_count), self._tokens(key, now) + cost)
        self._buckets[key] = (tokens, now)

    def wait_ms(self, key: str, now: float, *, cost: float = 1.0) -> int:
        """The milliseconds until `cost` tokens are there: 0 when they are there already. Takes nothing."""
        missing = cost - self._tokens(key, now)
        if missing <= 1e-9:
            return 0
        if self.limit.per_second <= 0:
            return 24 * 3600 * 1000  # never refilled: tomorrow is as good an answer as any
        return max(1, int(missing / self.limit.per_second * 1000 + 0.999))

    def _tokens(self, key: str, now: float) -> float:
        bucket = self._buckets.get(key)
        if bucket is None:
            return float(self.limit.burst_count)
        tokens, then = bucket
        return min(float(self.limit.burst_count), tokens + max(0.0, now - then) * self.limit.per_second)
