"""Answers to servers that ask for a room's history: backfill, get_missing_events, event.

Spec: https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence

from homeserver.core import errors
from homeserver.core.events import Event
from homeserver.services.peer_access import SharedGraph, as_server_may_see, shared_graph, shared_room
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import EventStatus, StoredEvent

MAX_BACKFILL = 100
MAX_MISSING = 100
MAX_STARTING_POINTS = 50


class HistoryAnswers:
    """Gives a room's history to servers that are in the room."""

    def __init__(self, database: Database, states: RoomStates) -> None:
        """All that is needed is stored."""
        self._database = database
        self._states = states

    async def backfill(self, origin: str, room_id: str, start: Sequence[str], limit: int) -> list[Event]:
        """The events `start` and those before them, newest first, at most `limit` of them (and never more than 100).

        Raises M_NOT_FOUND, M_FORBIDDEN.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
        """
        most = max(0, min(limit, MAX_BACKFILL))

        async def work(tx: Transaction) -> list[Event]:
            room = await shared_room(tx, self._states, room_id, origin)
            walk = _Walk(tx, SharedGraph(room))
            found = await walk.newest_first(start[:MAX_STARTING_POINTS], most)
            return await as_server_may_see(tx, self._states, room, origin, found)

        return await self._database.read(work)

    async def missing_events(
        self,
        origin: str,
        room_id: str,
        *,
        earliest: Collection[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int,
    ) -> list[Event]:
        """The events before `latest`, without `earliest` and what lies before them, oldest first.

        "a breadth-first walk of the prev_events for the latest_events, ignoring any events in earliest_events and stopping at
        the limit". Raises M_NOT_FOUND, M_FORBIDDEN.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
        """
        most = max(0, min(limit, MAX_MISSING))

        async def work(tx: Transaction) -> list[Event]:
            graph = await shared_graph(tx, self._states, room_id, origin)
            walk = _Walk(tx, graph)
            found = await walk.before(latest[:MAX_STARTING_POINTS], set(earliest), most, min_depth)
            found.sort(key=lambda stored: (stored.event.depth, stored.nid))
            return await graph.given(tx, self._states, origin, found)

        return await self._database.read(work)

    async def event(self, origin: str, event_id: str) -> Event:
        """A single event, soft-failed ones too. Raises M_NOT_FOUND, M_FORBIDDEN.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
        """

        async def work(tx: Transaction) -> Event:
            stored = await stored_events.get(tx, event_id)
            if stored is None or stored.status is EventStatus.REJECTED:
                raise errors.not_found(f"Could not find event {event_id}")
            room = (await rooms.by_nids(tx, [stored.room_nid]))[stored.room_nid]
            # Only servers in the room get it, so that knowing an event ID is not enough.
            graph = await shared_graph(tx, self._states, room.room_id, origin)
            if not graph.has(stored):
                raise errors.not_found(f"Could not find event {event_id}")
            return (await graph.given(tx, self._states, origin, [stored]))[0]

        return await self._database.read(work)


class _Walk:
    """Goes through the part of a room's graph that we have, backwards, a query a step."""

    def __init__(self, tx: Transaction, graph: SharedGraph) -> None:
        self._tx = tx
        self._graph = graph

    async def _load(self, event_ids: Iterable[str]) -> list[StoredEvent]:
        """Those that have their place in this room's graph here; rejected ones too, because there are events before them."""
        found = await stored_events.get_many(self._tx, list(event_ids))
        return [stored for stored in found.values() if self._graph.has(stored) and not stored.is_outlier]

    async def newest_first(self, start: Iterable[str], most: int) -> list[StoredEvent]:
        """Some events and those before them, always the deepest known one next."""
        seen = set(start)
        heap: list[tuple[int, int, StoredEvent]] = []
        for stored in await self._load(seen):
            heapq.heappush(heap, (-stored.event.depth, -stored.nid, stored))
        result: list[StoredEvent] = []
        while heap and len(result) < most:
            stored = heapq.heappop(heap)[2]
            if stored.status is not EventStatus.REJECTED:
                result.append(stored)
            before = [event_id for event_id in stored.event.prev_event_ids if event_id not in seen]
            seen.update(before)
            for earlier in await self._load(before) if before else []:
                heapq.heappush(heap, (-earlier.event.depth, -earlier.nid, earlier))
        return result

    async def before(
        self, latest: Iterable[str], earliest: set[str], most: int, min_depth: int
    ) -> list[StoredEvent]:
        """What lies between two sets of events, level by level from the latest."""
        seen = set(earliest)
        level = await self._load(latest)
        seen.update(stored.event.event_id for stored in level)
        result: list[StoredEvent] = []
        while level and len(result) < most:
            wanted = {prev for stored in level for prev in stored.event.prev_event_ids} - seen
            seen |= wanted
            level = [stored for stored in await self._load(wanted) if stored.event.depth >= min_depth]
            level.sort(key=lambda stored: (-stored.event.depth, -stored.nid))
            shown = [stored for stored in level if stored.status is not EventStatus.REJECTED]
            result += shown[: most - len(result)]
        return result
