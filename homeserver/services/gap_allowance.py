"""How much may be asked of other servers to fill the gaps before what they sent."""

from __future__ import annotations

import asyncio
import time

REQUEST_TIMEOUT_S = 60.0


class GapError(Exception):
    """What is missing cannot be had; `reason` says why. is_temporary: the server could not be asked, and perhaps can be soon."""

    def __init__(self, reason: str, *, is_temporary: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_temporary = is_temporary


class GapAllowance:
    """Requests and time, for one PDU or for all that came together. An event may name a past that never ends: when this is
    spent, the event is given up."""

    def __init__(self, requests: int, seconds: float, *, of: GapAllowance | None = None) -> None:
        """`requests` to be sent within `seconds` from now; `of`: what this is a part of, and is spent with it."""
        self._requests = requests
        self._left = requests
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._whole = of

    @property
    def left(self) -> int:
        """How many requests may still be sent."""
        return self._left if self._whole is None else min(self._left, self._whole.left)

    def spend(self, requests: int = 1) -> None:
        """Count requests that are about to be sent. Raises GapError when there is no time, or more than are left."""
        if time.monotonic() > self._ends:
            raise GapError(f"filling the gaps before it takes longer than {self._seconds:.0f} seconds")
        if requests > self._left:
            raise GapError(f"filling the gaps before it takes more than {self._requests} requests")
        if self._whole is not None:
            self._whole.spend(requests)
        self._left -= requests

    def in_time(self) -> asyncio.Timeout:
        """The time that one request has: raises TimeoutError after it."""
        return asyncio.timeout(min(REQUEST_TIMEOUT_S, max(0.0, self._ends - time.monotonic())))
