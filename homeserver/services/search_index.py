"""Keeps the full-text index up with the events: in the background, and before a search.

An event is indexed after it is stored and not with it, many at once, so that sending pays nothing for it.
"""

from __future__ import annotations

import asyncio
import logging

from homeserver.services.notifier import Committed
from homeserver.storage import search
from homeserver.storage.database import Database

log = logging.getLogger(__name__)

BATCH = 250
"""How many events are taken in at once: other writers wait for milliseconds at most."""

GATHER_S = 5.0
"""How long the background waits after the first of some commits, to take in what they all bring."""

PAUSE_S = 0.05
"""Between two batches in the background."""

BATCHES_BEFORE_SEARCH = 20
"""How far the index is brought up before a search answers from what there is: only a new index is further behind."""


class SearchIndex:
    """Moves the index on. One of several processes, or of several tasks, is enough; more are in nobody's way."""

    def __init__(self, database: Database, *, gather_s: float = GATHER_S) -> None:
        """Nothing runs before `start`."""
        self._gather_s = gather_s
        self._database = database
        self._news = asyncio.Event()
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the events in the background."""
        self._news.set()
        self._task = asyncio.create_task(self._follow(), name="search index")

    async def stop(self) -> None:
        """End that; the next start goes on where it stopped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def committed(self, news: Committed) -> None:
        """Something was stored."""
        if news.brings_events:
            self._news.set()

    async def catch_up(self) -> None:
        """Take in what is not in the index yet, as far as a person waits for it."""
        for _ in range(BATCHES_BEFORE_SEARCH):
            if not await self._batch():
                return

    async def _follow(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(self._gather_s)
            self._news.clear()
            try:
                await self._to_the_end()
            except Exception:
                log.exception(
                    "the search index could not be brought up to date; the next event has it tried again"
                )

    async def _to_the_end(self) -> None:
        while True:
            if not await self._batch():
                return
            await asyncio.sleep(PAUSE_S)

    async def _batch(self) -> bool:
        """Take in some more events; whether there may be still more."""
        async with self._lock:
            seen, then, rows = await self._database.read(lambda tx: search.unindexed(tx, BATCH))
            if seen == then:
                return False
            found = await asyncio.to_thread(search.indexed, rows)
            # If something came in between, such as a redaction of one of them, they are read again.
            await self._database.write(lambda tx: search.index(tx, seen, then, found))
            return True
