"""Joining the ends of a room's graph when they become many and nobody here posts.

Every event of ours joins the ends that there are. Where none of our users says anything, the events that other servers send at the
same time would make ends without number, and each costs whoever next adds to the room. So one of our users sends an event that says
nothing, as operators know it from Synapse; clients are not shown it.

A server that was put out of the room by state resolution is sent such an event as well: what it says of the ends holds for all.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from random import Random

from prometheus_client import Counter

from homeserver.core.errors import MatrixError
from homeserver.core.power_levels import CREATE, POWER_LEVELS, power_levels_of
from homeserver.services.background import BackgroundWork
from homeserver.services.event_store import DUMMY_EVENT
from homeserver.services.identity import Identity
from homeserver.services.notifier import Committed
from homeserver.services.room_graph import MANY_ENDS
from homeserver.services.room_state import RoomStates
from homeserver.services.timeline import Draft, Timeline
from homeserver.storage import expelled_servers, memberships, rooms
from homeserver.storage.database import Database, DatabaseError, Transaction

log = logging.getLogger(__name__)

LONGEST_DELAY_S = 60.0
"""Servers that see the same ends wait for different times, up to this, so that one of them does it for all. With more ends they
wait less."""

MAX_EVENTS = 50
"""How many events are sent at once; each joins as many ends as an event may follow."""

dummy_events = Counter("homeserver_dummy_events_total", "Events sent to join the ends of a room's graph.")


@dataclass(frozen=True, slots=True)
class _Found:
    """How many ends a room's graph has, the user of ours who may join them, and whether a server is owed an event that does."""

    ends: int
    sender: str | None
    owes: bool


class GraphMerging:
    """Sends dummy events into rooms whose graphs have many ends."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        timeline: Timeline,
        identity: Identity,
        random: Random,
        longest_delay_s: float = LONGEST_DELAY_S,
    ) -> None:
        """`timeline` sends the events; `random` says when."""
        self._database = database
        self._states = states
        self._timeline = timeline
        self._identity = identity
        self._random = random
        self._longest_delay_s = longest_delay_s
        self._running: dict[str, asyncio.Task[None]] = {}
        self.work = BackgroundWork("telling of servers that were put out of rooms", self._piece)

    def committed(self, committed: Committed) -> None:
        """Look after the rooms whose graphs have many ends since a commit."""
        for room_id in committed.many_ends:
            if room_id not in self._running:
                task = asyncio.create_task(self._merge(room_id), name=f"join the ends of {room_id}")
                self._running[room_id] = task
                task.add_done_callback(lambda _, room_id=room_id: self._running.pop(room_id, None))  # type: ignore[misc]

    @property
    def running(self) -> int:
        """How many rooms are being looked after."""
        return len(self._running)

    async def stop(self) -> None:
        """Leave the ends as they are. Who is owed an event gets it after the next start."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.work.stop()

    async def _piece(self) -> bool:
        """Pay what servers are owed since before a restart, or since the database failed: no event will remind of it."""
        for room_id in await self._database.read(expelled_servers.rooms_untold):
            if room_id not in self._running:
                await self._join(room_id)
        return False

    async def _merge(self, room_id: str) -> None:
        try:
            await self._join(room_id)
        except DatabaseError as error:
            log.warning("the ends of %s could not be joined: %s", room_id, error)
            self.work.wake()

    async def _join(self, room_id: str) -> None:
        """Join the ends of a room, when it is time. Raises DatabaseError."""
        try:
            found = await self._database.read(lambda tx: self._look(tx, room_id))
            if found.sender is not None and not found.owes:
                share = MANY_ENDS / max(found.ends, 1)
                await asyncio.sleep(self._random.random() * self._longest_delay_s * share)
            for _ in range(MAX_EVENTS):
                found = await self._database.read(lambda tx: self._look(tx, room_id))
                sender = found.sender
                if sender is None or not (found.owes or found.ends > MANY_ENDS):
                    return
                await self._timeline.send(room_id, Draft(sender, DUMMY_EVENT, {}))
                dummy_events.inc()
        except MatrixError as refused:
            log.info("the ends of %s cannot be joined: %s", room_id, refused)
        except DatabaseError:
            raise
        except Exception:
            log.exception("joining the ends of %s failed", room_id)

    async def _look(self, tx: Transaction, room_id: str) -> _Found:
        room = await rooms.get(tx, room_id)
        if room is None:
            return _Found(0, None, False)
        owes = bool(await expelled_servers.untold(tx, room.room_nid))
        ends = await rooms.forward_extremities(tx, room.room_nid)
        server_name = self._identity.server_name
        users = await memberships.local_users(tx, room.room_nid, server_name, ("join",))
        state = await self._states.events(tx, room.current_state, [CREATE, POWER_LEVELS])
        if not users or CREATE not in state:
            return _Found(len(ends), None, owes)
        levels = power_levels_of(state)
        sender = max(users, key=levels.user_level)
        may = levels.can_send(sender, DUMMY_EVENT, is_state=False)
        return _Found(len(ends), sender if may else None, owes)
