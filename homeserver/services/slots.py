"""Places for work that others may hold up: whoever takes long makes room for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """At most `most` pieces of work at a time, and beside them at most `most_slow` that have taken long."""

    def __init__(self, most: int, most_slow: int, slow_after_s: float) -> None:
        """A piece of work gives its place to the next after `slow_after_s` seconds, and goes on."""
        self._free = asyncio.Semaphore(most)
        self._most_slow = most_slow
        self._slow_after_s = slow_after_s
        self._slow = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """A place, as soon as there is one; given back at the end."""
        await self._free.acquire()
        is_slow = False
        timer: asyncio.TimerHandle
        loop = asyncio.get_running_loop()

        def give_way() -> None:
            nonlocal is_slow, timer
            if self._slow < self._most_slow:
                is_slow = True
                self._slow += 1
                self._free.release()
            else:
                timer = loop.call_later(self._slow_after_s, give_way)

        timer = loop.call_later(self._slow_after_s, give_way)
        try:
            yield
        finally:
            timer.cancel()
            if is_slow:
                self._slow -= 1
            else:
                self._free.release()
