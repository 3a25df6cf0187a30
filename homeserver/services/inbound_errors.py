"""What was refused to other servers lately, kept for operators: a few of each server, and of so many servers.

Noting one costs nothing; the database is told some seconds later, of all at once.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from homeserver.services.background import BackgroundWork
from homeserver.services.clock import Clock
from homeserver.storage import federation_health
from homeserver.storage.database import Database
from homeserver.storage.federation_health import InboundError

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
        self._known: OrderedDict[str, deque[InboundError]] = OrderedDict()
        self._new: set[str] = set()
        self.work = BackgroundWork("noting of what was refused to others", self._write, gather_s=flush_s)

    def note(self, origin: str, what: str, reason: str) -> None:
        """A request of a server was refused. what: method and path, or an event."""
        error = InboundError(self._clock(), what[:MOST_CHARACTERS], reason[:MOST_CHARACTERS])
        self._known.setdefault(origin, deque(maxlen=OF_EACH)).appendleft(error)
        self._known.move_to_end(origin)
        self._new.add(origin)
        if len(self._known) > MOST_ORIGINS:
            forgotten, _ = self._known.popitem(last=False)
            self._new.discard(forgotten)
        self.work.wake()

    async def stop(self) -> None:
        """Write what is not written yet, and no more."""
        await self.work.stop()
        await self._write()

    async def _write(self) -> bool:
        noted, self._new = self._new, set()
        if noted:
            errors = {origin: list(self._known[origin]) for origin in noted}
            try:
                await self._database.write(
                    lambda tx: federation_health.set_inbound_errors(tx, errors, most_origins=MOST_ORIGINS)
                )
            except BaseException:
                self._new |= noted & self._known.keys()
                raise
        return False
