"""Refused invites of which no server in the room could be told: they are told later, when one can be reached again.

The user is rid of the invite at once. Until the room hears of it, its members see the user as invited.
"""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import Protocol

from homeserver.core.backoff import BackoffPolicy, retry_delay_ms
from homeserver.services.background import BackgroundWork
from homeserver.services.clock import Clock
from homeserver.storage import out_of_room, untold_leaves
from homeserver.storage.database import Database, Transaction
from homeserver.storage.out_of_room import OutOfRoom
from homeserver.storage.untold_leaves import UntoldLeave

log = logging.getLogger(__name__)

POLICY = BackoffPolicy(quick=(60_000, 5 * 60_000), first_ms=30 * 60_000)
MAX_TRIES = 14
"""Within about a week; who was not to be reached until then is not told any more."""

AT_ONCE = 10
LOOK_EVERY_S = 60.0


class Telling(Protocol):
    """Tells the servers in a room that a user of ours has left it: `remote_memberships.RemoteMemberships`."""

    async def tell(self, record: OutOfRoom) -> bool:
        """Ask them once; False when it may work later."""
        ...


class UntoldLeaves:
    """Tries again."""

    def __init__(self, database: Database, telling: Telling, clock: Clock, random: Random) -> None:
        """`random` spreads the tries."""
        self._database = database
        self._telling = telling
        self._clock = clock
        self._random = random
        self.work = BackgroundWork("telling of refused invites", self._piece, every_s=LOOK_EVERY_S)

    async def _piece(self) -> bool:
        await self.tell_due()
        return False  # who is still due comes with the next look

    async def tell_due(self) -> None:
        """Tell of those whose next try is due."""
        now = self._clock()
        due = await self._database.read(lambda tx: untold_leaves.due(tx, now, AT_ONCE))
        # All to the end, also when one fails: none goes on by itself beside the next look, or after the stop.
        for ended in await asyncio.gather(*map(self._tell, due), return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def _tell(self, leave: UntoldLeave) -> None:
        record = await self._database.read(lambda tx: _still_holds(tx, leave))
        if record is None or await self._telling.tell(record):
            await self._database.write(lambda tx: untold_leaves.remove(tx, leave))
            return
        tries = leave.tries + 1
        if tries >= MAX_TRIES:
            log.warning("%s could not be told that %s has left it", leave.room_id, leave.user_id)
            await self._database.write(lambda tx: untold_leaves.remove(tx, leave))
            return
        await self._database.write(lambda tx: self._later(tx, leave, tries))

    async def _later(self, tx: Transaction, leave: UntoldLeave, tries: int) -> None:
        """Put off the next try, unless the user has been invited again and has refused again meanwhile."""
        if await _still_holds(tx, leave) is not None:
            at = next_try_ms(self._clock(), tries, self._random.random())
            await untold_leaves.put(tx, UntoldLeave(leave.user_id, leave.room_id, leave.event_id, tries, at))


def next_try_ms(now_ms: int, tries: int, fraction: float = 0.5) -> int:
    """When to try again after some tries that were in vain. fraction: a random number, 0 <= fraction < 1."""
    return now_ms + retry_delay_ms(tries, fraction, POLICY)


async def _still_holds(tx: Transaction, leave: UntoldLeave) -> OutOfRoom | None:
    """The leave, if nothing else has become of the user in the room since."""
    record = await out_of_room.get(tx, leave.user_id, leave.room_id)
    return record if record is not None and record.event.event_id == leave.event_id else None
