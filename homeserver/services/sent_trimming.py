"""Forgets transaction IDs, in the background: of devices that are gone, and of events that nobody sends once more.

Spec: https://spec.matrix.org/v1.19/client-server-api/#transaction-identifiers
"""

from __future__ import annotations

from homeserver.services.background import BackgroundWork
from homeserver.services.clock import Clock
from homeserver.storage import sent_events
from homeserver.storage.database import Database

KEPT_MS = 7 * 24 * 3_600_000
"""A client that gets no answer repeats its request within minutes; what waits on a phone without a network, within days."""

BATCH = 500
"""How many are forgotten at once: a few milliseconds of the writer's time."""

PAUSE_S = 0.1
EVERY_S = 3600.0


class SentTrimming:
    """Looks for them once in a while, and when a device is gone."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.work = BackgroundWork(
            "trimming of transaction IDs", self._piece, pause_s=PAUSE_S, every_s=EVERY_S
        )

    def sessions_ended(self, _user_id: str) -> None:
        """A device may be gone."""
        self.work.wake()

    async def _piece(self) -> bool:
        before = self._clock() - KEPT_MS
        return await self._database.write(lambda tx: sent_events.trim(tx, before, BATCH))
