"""Work that is done in the background, in small pieces, and goes on where it stopped after a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

log = logging.getLogger(__name__)

RETRY_S = 60.0


class BackgroundWork:
    """Does pieces of work as long as there are some, and then waits until it is woken."""

    def __init__(
        self,
        name: str,
        piece: Callable[[], Awaitable[bool]],
        *,
        gather_s: float = 0.0,
        pause_s: float = 0.0,
        every_s: float | None = None,
    ) -> None:
        """`piece` does some of the work and answers whether there may be more. What is to be done stands in the database.

        gather_s: how long to wait after being woken, to do together what comes in a row. pause_s: after each piece, for others.
        every_s: how long to wait for being woken before looking without that; None: for ever.
        """
        self._name = name
        self._piece = piece
        self._gather_s = gather_s
        self._pause_s = pause_s
        self._every_s = every_s
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, with what is left from before."""
        self._woken.set()
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """End, between two pieces or within one: none is done by half."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._woken.wait()
            await asyncio.sleep(self._gather_s)
            self._woken.clear()
            try:
                await self._to_the_end()
            except Exception:
                log.exception("%s failed; it is tried again in %d seconds", self._name, RETRY_S)
                await asyncio.sleep(RETRY_S)
                self._woken.set()

    async def _to_the_end(self) -> None:
        while True:
            if not await self._piece():
                return
            await asyncio.sleep(self._pause_s)
