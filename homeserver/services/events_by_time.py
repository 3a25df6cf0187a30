"""The event of a room that is closest to a time, for our users and for other servers.

Times are what the events say, `origin_server_ts`, in milliseconds since the epoch.
Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from homeserver.core.errors import MatrixError, not_found
from homeserver.core.requester import Requester
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.events import NearestEvent, timestamp_to_event
from homeserver.federation.transport import FederationClient
from homeserver.services.event_access import access, visible
from homeserver.services.identity import Identity
from homeserver.services.ignored_users import ignored_users
from homeserver.services.peer_access import seen_by_server, shared_room
from homeserver.services.room_state import RoomStates
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.events import StoredEvent
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

READ_AT_ONCE = 50
MAX_READS = 20
"""How often more events are read when those that are closer are nothing that the asking one may see."""

MAX_SERVERS = 3
OLDEST_MEMBERS = 50
SERVER_TIMEOUT_S = 10.0
_LARGEST = 2**63 - 1
_BEYOND_ALL_POSITIONS = 2**62

_Filter = Callable[[Sequence[StoredEvent]], Awaitable[Sequence[StoredEvent]]]


class FetchesEvents(Protocol):
    """Gets single events of a room's history from other servers."""

    async def fetch_event(self, server: str, room: Room, event_id: str) -> bool:
        """Whether the event was fetched, verified and stored, and was not here before."""
        ...


@dataclass(frozen=True, slots=True)
class _Search:
    """found: the closest event that may be shown. next_to_gap: whether history is missing here that may be closer."""

    room: Room
    found: NearestEvent | None
    next_to_gap: bool


class EventsByTime:
    """Finds events by their time."""

    def __init__(
        self,
        database: Database,
        states: RoomStates,
        client: FederationClient,
        history: FetchesEvents,
        identity: Identity,
    ) -> None:
        """Where our history has a gap, other servers are asked through `client`, and what they name is fetched by `history`."""
        self._database = database
        self._states = states
        self._client = client
        self._history = history
        self._identity = identity

    async def nearest(
        self, requester: Requester, room_id: str, timestamp: int, *, backwards: bool
    ) -> NearestEvent:
        """The event closest to the time, at or before it (`backwards`) or at or after it, that the user may see.

        Raises M_FORBIDDEN for a room that the user may not read, M_NOT_FOUND when there is no such event.
        """

        async def work(tx: Transaction) -> _Search:
            return await self._search(tx, requester.user_id, room_id, timestamp, backwards)

        search = await self._database.read(work)
        if search.next_to_gap and await self._fetch_nearer(search, timestamp, backwards):
            search = await self._database.read(work)
        if search.found is None:
            raise _nothing(timestamp, backwards)
        return search.found

    async def nearest_for_server(
        self, origin: str, room_id: str, timestamp: int, *, backwards: bool
    ) -> NearestEvent:
        """The same for a server that is in the room, among the events that it may see. Raises M_FORBIDDEN, M_NOT_FOUND.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
        """

        async def work(tx: Transaction) -> NearestEvent:
            room = await shared_room(tx, self._states, room_id, origin)
            found, _ = await _nearest(
                tx,
                room,
                timestamp,
                backwards,
                lambda events: seen_by_server(tx, self._states, room, origin, events),
            )
            if found is None:
                raise _nothing(timestamp, backwards)
            return found

        return await self._database.read(work)

    async def _search(
        self, tx: Transaction, user_id: str, room_id: str, timestamp: int, backwards: bool
    ) -> _Search:
        room = (await access(tx, self._states, room_id, user_id)).room
        ignored = await ignored_users(tx, user_id)

        async def seen(events: Sequence[StoredEvent]) -> list[StoredEvent]:
            return [each.stored for each in await visible(tx, self._states, user_id, events, ignored)]

        found, passed = await _nearest(tx, room, timestamp, backwards, seen)
        missing = await rooms.backward_extremities(tx, room.room_nid)
        if not missing or not await memberships.is_server_joined(
            tx, room.room_nid, self._identity.server_name
        ):
            return _Search(room, found, False)
        # What is missing lies before the events that refer to it: those passed on the way, and the first on the other side.
        other_way = _start(timestamp, not backwards)
        passed += await stored_events.by_time(
            tx, room.room_nid, start=other_way, backwards=not backwards, limit=1
        )
        next_to_gap = any(not missing.keys().isdisjoint(stored.event.prev_event_ids) for stored in passed)
        return _Search(room, found, found is None or next_to_gap)

    async def _fetch_nearer(self, search: _Search, timestamp: int, backwards: bool) -> bool:
        """Ask servers for an event that is closer than what was found, and fetch it. Whether there is one now.

        "If so, it should try to backfill this event via the /event/{event_id} endpoint"
        """
        room = search.room
        for server in await self._database.read(lambda tx: self._servers(tx, room)):
            try:
                async with asyncio.timeout(SERVER_TIMEOUT_S):
                    named = await timestamp_to_event(
                        self._client, server, room.room_id, timestamp, "b" if backwards else "f"
                    )
            except (FederationError, TimeoutError) as error:
                log.info("%s names no event of %s near %d: %s", server, room.room_id, timestamp, error)
                continue
            if _is_nearer(named, search.found, timestamp, backwards) and await self._history.fetch_event(
                server, room, named.event_id
            ):
                return True
        return False

    async def _servers(self, tx: Transaction, room: Room) -> list[str]:
        """Servers to ask, "sort by servers that have been in the room the longest" """
        create = await self._states.event(tx, room.current_state, "m.room.create")
        oldest = await memberships.first(tx, room.room_nid, ["join"], but="", limit=OLDEST_MEMBERS)
        joined = await memberships.joined_servers(tx, room.room_nid)
        maker = [create.sender_domain] if create else []
        longest = [*maker, *(member.user_id.partition(":")[2] for member in oldest), *joined]
        servers = [server for server in dict.fromkeys(longest) if server in set(joined)]
        return [server for server in servers if server != self._identity.server_name][:MAX_SERVERS]


async def _nearest(
    tx: Transaction, room: Room, timestamp: int, backwards: bool, seen: _Filter
) -> tuple[NearestEvent | None, list[StoredEvent]]:
    """The closest event here that may be seen, and the events from the time up to it."""
    start = _start(timestamp, backwards)
    passed: list[StoredEvent] = []
    for _ in range(MAX_READS):
        page = await stored_events.by_time(
            tx, room.room_nid, start=start, backwards=backwards, limit=READ_AT_ONCE
        )
        shown = await seen(page)
        if shown:
            first = shown[0]
            # What is shown may be a redacted copy: of an erased user.
            passed += page[: [each.nid for each in page].index(first.nid) + 1]
            return NearestEvent(first.event.event_id, first.event.origin_server_ts), passed
        passed += page
        if len(page) < READ_AT_ONCE:
            break
        last = page[-1]
        assert last.position is not None, "what is read by time has a place"
        start = (last.event.origin_server_ts, last.position)
    return None, passed


def _start(timestamp: int, backwards: bool) -> tuple[int, int]:
    """Where to begin, so that events at the very time count."""
    edge = _BEYOND_ALL_POSITIONS if backwards else -_BEYOND_ALL_POSITIONS
    return max(-_LARGEST, min(timestamp, _LARGEST)), edge


def _is_nearer(named: NearestEvent, found: NearestEvent | None, timestamp: int, backwards: bool) -> bool:
    distance = timestamp - named.origin_server_ts if backwards else named.origin_server_ts - timestamp
    return distance >= 0 and (found is None or distance < abs(found.origin_server_ts - timestamp))


def _nothing(timestamp: int, backwards: bool) -> MatrixError:
    direction = "backward" if backwards else "forward"
    return not_found(f"Unable to find event from {timestamp} in {direction} direction")
