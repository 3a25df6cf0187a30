"""What was refused to other servers lately, kept for operators: a few of each server, and of so many servers.

Noting one costs nothing; the database is told some seconds later, of all at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import OrderedDict, deque

from homeserver.services.clock import Clock
from homeserver.storage import federation_health
from homeserver.storage.database import Database, DatabaseError, Transaction
from homeserver.storage.federation_health import InboundError

log = logging.getLogger(__name__)

OF_EACH = 5
MOST_ORIGINS = 1_000
MOST_CHARACTERS = 500
FLUSH_S = 5.0


class InboundErrors:
    """Notes errors, and writes them in the background."""

    def __init__(self, database: Database, clock: Clock, *, flush_s: float = FLUSH_S) -> None:
        """`flush_s`: how long an error may wait to be written, in seconds."""
        self._database = database
        self._clock = clock
        self._flush_s = flush_s
        self._known: OrderedDict[str, deque[InboundError]] = OrderedDict()
        self._new: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def note(self, origin: str, what: str, reason: str) -> None:
        """A request of a server was refused. what: method and path, or an event."""
        error = InboundError(self._clock(), what[:MOST_CHARACTERS], reason[:MOST_CHARACTERS])
        self._known.setdefault(origin, deque(maxlen=OF_EACH)).appendleft(error)
        self._known.move_to_end(origin)
        self._new.add(origin)
        if len(self._known) > MOST_ORIGINS:
            forgotten, _ = self._known.popitem(last=False)
            self._new.discard(forgotten)
        if self._task is None:
            self._task = asyncio.create_task(self._flush_later())

    async def stop(self) -> None:
        """Write what is not written yet."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._flush()

    async def _flush_later(self) -> None:
        try:
            await asyncio.sleep(self._flush_s)
            await self._flush()
        except DatabaseError as error:
            log.warning("errors of other servers could not be noted: %s", error)
        finally:
            self._task = None

    async def _flush(self) -> None:
        new = {origin: list(self._known[origin]) for origin in self._new}
        self._new.clear()
        if not new:
            return

        async def work(tx: Transaction) -> None:
            await federation_health.set_inbound_errors(tx, new, most_origins=MOST_ORIGINS)

        await self._database.write(work)
