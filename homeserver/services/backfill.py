"""Fetching a room's history from before we were in it: the asking side of backfill.

Each fetched event gets the state before it, so that history visibility is judged as for any other event. The state before the
oldest ones is asked for with state_ids; that before the others follows.

Spec: https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from homeserver.core.event_order import by_prev_events, ordered
from homeserver.core.events import Event
from homeserver.core.state_map import Digest
from homeserver.core.stream_tokens import Place
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.events import backfill, get_event
from homeserver.federation.transport import FederationClient
from homeserver.services.clock import Clock
from homeserver.services.event_gaps import EventGaps
from homeserver.services.gap_allowance import GapAllowance, GapError
from homeserver.services.history_writes import HistoryWriter
from homeserver.services.identity import Identity
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.storage import events as stored_events
from homeserver.storage import memberships, positions, rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

AT_LEAST = 100
"""Events to ask for at once: each request needs the state before its oldest event as well, so few large ones cost least."""
AT_MOST = 500
MAX_STARTING_POINTS = 20
MAX_SERVERS = 5
MAX_STATE_FETCHES = 20
MAX_AUTH_FETCHES = 10
MAX_GAP_REQUESTS = 100
RECENT_EVENTS = 50
TIMEOUT_S = 45.0
SERVER_TIMEOUT_S = 20.0
PAUSE_AFTER_FAILURE_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class _Gap:
    """Where history is missing: the events to ask for, and the servers to ask."""

    room: Room
    starting_points: tuple[str, ...]
    servers: list[str]


class Backfill:
    """Fetches history that is missing here."""

    def __init__(
        self,
        database: Database,
        writes: RoomWrites,
        states: RoomStates,
        client: FederationClient,
        received: ReceivedEvents,
        gaps: EventGaps,
        identity: Identity,
        clock: Clock,
    ) -> None:
        """`received` verifies what comes, `gaps` fetches the states and auth events that it needs."""
        self._database = database
        self._writes = writes
        self._states = states
        self._client = client
        self._received = received
        self._gaps = gaps
        self._identity = identity
        self._clock = clock
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._failed: dict[tuple[str, tuple[str, ...]], int] = {}

    async def fill_gap(self, room_id: str, place: Place, limit: int) -> bool:
        """Fetch `limit` events, or somewhat more, before those gaps in the room's history that are at `place` or later.

        True when there are new events, so that the page should be read again. Never raises for what other servers do: what cannot
        be had stays missing, and is asked for again some minutes later at the earliest.
        """
        lock = self._locks.setdefault(room_id, asyncio.Lock())
        try:
            async with asyncio.timeout(TIMEOUT_S), lock:
                gap = await self._database.read(lambda tx: self._gap(tx, room_id, place))
                if gap is None or self._failed.get((room_id, gap.starting_points), 0) > self._clock():
                    return False
                for server in gap.servers[:MAX_SERVERS]:
                    if await self._fill_from(server, gap, min(max(limit, AT_LEAST), AT_MOST)):
                        return True
                self._remember_failure(room_id, gap)
        except TimeoutError:
            log.info("fetching the history of %s takes too long; what came so far is kept", room_id)
        return False

    async def fetch_event(self, server: str, room: Room, event_id: str) -> bool:
        """Fetch a single event of the room's history, with the state before it. False when we have it already, and when it cannot
        be had or is not what it should be; never raises for what the other server does.
        """
        lock = self._locks.setdefault(room.room_id, asyncio.Lock())
        try:
            async with asyncio.timeout(SERVER_TIMEOUT_S), lock:
                event = await get_event(self._client, server, event_id, room.rules, room.room_id)
                received = await self._received.verify(await self._new([event]))
                for dropped in received.dropped.values():
                    log.info("history of %s: dropped %s: %s", room.room_id, event_id, dropped.reason)
                return await self._store(server, room, list(received.events.values())) > 0
        except FederationError as error:
            log.info("the event %s of %s is not to be had from %s: %s", event_id, room.room_id, server, error)
        except TimeoutError:
            log.info("%s does not give the event %s of %s in time", server, event_id, room.room_id)
        return False

    def _remember_failure(self, room_id: str, gap: _Gap) -> None:
        now = self._clock()
        self._failed = {key: until for key, until in self._failed.items() if until > now}
        self._failed[(room_id, gap.starting_points)] = now + PAUSE_AFTER_FAILURE_MS
        log.info("no server gives the history of %s before %s", room_id, ", ".join(gap.starting_points))

    async def _gap(self, tx: Transaction, room_id: str, place: Place) -> _Gap | None:
        """The missing events at or after a place, the nearest first, if there are any."""
        room = await rooms.get(tx, room_id)
        if room is None:
            return None
        missing = await rooms.backward_extremities(tx, room.room_nid)
        within = [event_id for event_id, depth in missing.items() if depth >= place.depth]
        if not within:
            return None
        within.sort(key=lambda event_id: (missing[event_id], event_id))
        return _Gap(room, tuple(within[:MAX_STARTING_POINTS]), await self._servers(tx, room))

    async def _servers(self, tx: Transaction, room: Room) -> list[str]:
        """Servers in the room: first those whose users have spoken lately, because they answer."""
        joined = await memberships.joined_servers(tx, room.room_nid)
        now = await positions.current(tx)
        recent, _ = await stored_events.timeline(tx, room.room_nid, after=0, up_to=now, limit=RECENT_EVENTS)
        lately = [stored.event.sender_domain for stored in reversed(recent)]
        maker = [room.room_id.partition(":")[2]]
        servers = [server for server in (*lately, *maker, *joined) if server in set(joined)]
        return [server for server in dict.fromkeys(servers) if server != self._identity.server_name]

    async def _fill_from(self, server: str, gap: _Gap, limit: int) -> bool:
        room = gap.room
        try:
            async with asyncio.timeout(SERVER_TIMEOUT_S) as deadline:
                answer = await backfill(
                    self._client,
                    server,
                    room.room_id,
                    room.rules,
                    before=gap.starting_points,
                    limit=limit,
                )
        except FederationError as error:
            log.info("no history of %s from %s: %s", room.room_id, server, error.reason)
            return False
        except TimeoutError:
            if not deadline.expired():
                raise
            log.info("no history of %s from %s in time", room.room_id, server)
            return False
        events = await self._new(answer.events[:AT_MOST])
        received = await self._received.verify(events)
        for event_id, dropped in received.dropped.items():
            log.info("history of %s: dropped %s: %s", room.room_id, event_id, dropped.reason)
        return await self._store(server, room, list(received.events.values())) > 0

    async def _new(self, events: Sequence[Event]) -> list[Event]:
        """Those that have no place in the graph yet."""
        ids = [event.event_id for event in events]
        known = await self._database.read(lambda tx: stored_events.known(tx, ids))
        return [event for event in events if event.event_id not in known or known[event.event_id].is_outlier]

    async def _store(self, server: str, room: Room, events: Sequence[Event]) -> int:
        """Store fetched events, the oldest first; those whose state or auth events cannot be had are left out."""
        roots: dict[str, Digest] = {}
        allowance = GapAllowance(MAX_GAP_REQUESTS, TIMEOUT_S)
        in_order = ordered(sorted(events, key=lambda event: event.depth), by_prev_events)
        left_out: set[str] = set()
        for event in await self._without_their_past(in_order):
            try:
                if len(roots) >= MAX_STATE_FETCHES:
                    raise GapError("the states before too many events would have to be fetched")
                roots[event.event_id] = await self._gaps.state_before(server, room, event, allowance)
            except GapError as gap:
                log.info("history of %s: left out %s: %s", room.room_id, event.event_id, gap.reason)
                left_out.add(event.event_id)
        for number, event in enumerate(await self._without_their_auth_events(in_order)):
            try:
                if number >= MAX_AUTH_FETCHES:
                    raise GapError("the auth events of too many events would have to be fetched")
                await self._gaps.fetch_auth_events(server, room, event, allowance)
            except GapError as gap:
                log.info("history of %s: left out %s: %s", room.room_id, event.event_id, gap.reason)
                left_out.add(event.event_id)

        async def work(tx: Transaction) -> tuple[int, None]:
            current = await rooms.get(tx, room.room_id)
            assert current is not None, "a room that is known stays known"
            writer = HistoryWriter(tx, self._states, current)
            for event in in_order:
                if event.event_id not in left_out:
                    await writer.add(event, roots.get(event.event_id))
            return await writer.close(), None

        return await self._writes.run(room.room_id, work)

    async def _without_their_past(self, events: Sequence[Event]) -> list[Event]:
        """Those that refer to events that are neither here nor among them; create events refer to none."""
        here = {event.event_id for event in events}
        wanted = {prev for event in events for prev in event.prev_event_ids} - here
        known = await self._database.read(lambda tx: stored_events.known(tx, wanted))
        missing = {prev for prev in wanted if prev not in known or known[prev].is_outlier}
        return [event for event in events if missing.intersection(event.prev_event_ids)]

    async def _without_their_auth_events(self, events: Sequence[Event]) -> list[Event]:
        """Those whose auth events are neither here nor among them."""
        here = {event.event_id for event in events}
        wanted = {auth for event in events for auth in event.auth_event_ids_with_create} - here
        known = await self._database.read(lambda tx: stored_events.known(tx, wanted))
        missing = wanted - known.keys()
        return [event for event in events if missing.intersection(event.auth_event_ids_with_create)]
