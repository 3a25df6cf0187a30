"""Keeps the full-text index up with the events: in the background, and before a search.

An event is indexed after it is stored and not with it, many at once, so that sending pays nothing for it.
"""

from __future__ import annotations

import asyncio
import logging

from homeserver.services.background import BackgroundWork
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
        """Nothing runs before `work` is started."""
        self._database = database
        self._lock = asyncio.Lock()
        self.work = BackgroundWork("search index", self._piece, gather_s=gather_s, pause_s=PAUSE_S)

    def committed(self, news: Committed) -> None:
        """Something was stored."""
        if news.brings_events:
            self.work.wake()

    async def catch_up(self) -> None:
        """Take in what is not in the index yet, as far as a person waits for it."""
        for _ in range(BATCHES_BEFORE_SEARCH):
            if not await self._batch():
                return

    async def _piece(self) -> bool:
        try:
            return await self._batch()
        except Exception:
            log.exception(
                "the search index could not be brought up to date; the next event has it tried again"
            )
            return False

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
