"""Fetching what an event refers to and we do not have: earlier events, what authorises it, the state before it.

All is bounded, and nothing is stored before it is verified.
Spec: https://spec.matrix.org/v1.19/server-server-api/#backfilling-and-retrieving-missing-events
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence

from prometheus_client import Counter

from homeserver.core.event_order import by_auth_events, by_prev_events, judge_by_auth_events, ordered
from homeserver.core.events import Event
from homeserver.core.state_map import Digest
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.events import (
    get_event,
    get_event_auth,
    get_missing_events,
    get_state,
    get_state_ids,
)
from homeserver.federation.transport import FederationClient
from homeserver.services.gap_allowance import REQUEST_TIMEOUT_S, GapAllowance, GapError
from homeserver.services.imported_state import BadState, ImportedState, imported_state, known_events
from homeserver.services.outliers import import_outliers
from homeserver.services.received_events import ReceivedEvents
from homeserver.services.room_state import RoomStates
from homeserver.services.room_writes import RoomWrites
from homeserver.storage import events as stored_events
from homeserver.storage import rooms
from homeserver.storage.database import Database, Transaction
from homeserver.storage.rooms import Room

log = logging.getLogger(__name__)

MAX_EARLIER_EVENTS = 500
MAX_ROUNDS = 8
EVENTS_A_ROUND = 100
MAX_EXTREMITIES = 20
WHOLE_STATE_ABOVE = 10
"""With more state events missing than this the whole state is fetched with one request."""
CONCURRENT_REQUESTS = 8

gaps_filled = Counter(
    "homeserver_event_gaps_total", "Gaps before received events, by how they were filled.", ["how"]
)


class EventGaps:
    """Asks the server that sent an event for what is missing before it, as far as an allowance goes."""

    def __init__(
        self,
        database: Database,
        writes: RoomWrites,
        states: RoomStates,
        client: FederationClient,
        received: ReceivedEvents,
    ) -> None:
        """`received` verifies what comes; what was fetched beside the graph is stored through `writes`."""
        self._database = database
        self._writes = writes
        self._states = states
        self._client = client
        self._received = received

    async def earlier_events(
        self, server: str, room: Room, event: Event, allowance: GapAllowance
    ) -> list[Event]:
        """The events between our ends of the graph and this one, verified, oldest first; as many as can be had.

        Never raises for what the other server does: what is still missing then shows when the events are added.
        """
        earliest = (await self._database.read(lambda tx: rooms.forward_extremities(tx, room.room_nid)))[
            :MAX_EXTREMITIES
        ]
        found: dict[str, Event] = {}
        latest = [event.event_id]
        for _ in range(MAX_ROUNDS):
            try:
                allowance.spend()
                async with allowance.in_time():
                    answer = await get_missing_events(
                        self._client,
                        server,
                        room.room_id,
                        room.rules,
                        earliest=earliest,
                        latest=latest,
                        limit=EVENTS_A_ROUND,
                    )
            except (FederationError, TimeoutError, GapError) as error:
                log.info("%s does not tell what comes before %s: %s", server, event.event_id, error)
                break
            new = [
                each
                for each in answer.events
                if each.event_id not in found and each.event_id != event.event_id
            ]
            received = await self._received.verify(new[:EVENTS_A_ROUND])
            found.update(received.events)
            latest = await self._without_their_past([*found.values(), event])
            if not received.events or not latest or len(found) >= MAX_EARLIER_EVENTS:
                break
        if found:
            gaps_filled.labels("get_missing_events").inc()
        return ordered(sorted(found.values(), key=lambda each: each.depth), by_prev_events)

    async def _without_their_past(self, events: Sequence[Event]) -> list[str]:
        """Those of the events that refer to one that is neither among them nor in the graph."""
        here = {event.event_id for event in events}
        wanted = {prev for event in events for prev in event.prev_event_ids} - here
        known = await self._database.read(lambda tx: stored_events.known(tx, wanted))
        missing = {event_id for event_id in wanted if event_id not in known or known[event_id].is_outlier}
        latest = [event for event in events if missing.intersection(event.prev_event_ids)]
        return [event.event_id for event in latest[:MAX_EXTREMITIES]]

    async def fetch_auth_events(self, server: str, room: Room, event: Event, allowance: GapAllowance) -> None:
        """Store the auth chain of an event, as far as we do not have it. Raises GapError."""
        allowance.spend()
        is_temporary = False
        try:
            async with allowance.in_time():
                answer = await get_event_auth(self._client, server, room.room_id, event.event_id, room.rules)
            offered = {each.event_id: each for each in answer.events}
        except (FederationError, TimeoutError) as error:
            log.info("%s does not give the auth chain of %s: %s", server, event.event_id, error)
            is_temporary = _is_temporary(error)
            offered = await self._single_events(server, room, event.auth_event_ids_with_create, allowance)
        wanted = {event_id for each in (event, *offered.values()) for event_id in by_auth_events(each)}
        known, rejected = await self._database.read(lambda tx: known_events(tx, wanted | set(offered)))
        received = await self._received.verify(
            [each for event_id, each in offered.items() if event_id not in known]
        )
        judged = await asyncio.to_thread(judge_by_auth_events, received.events.values(), known, rejected)
        new = [received.events[event_id] for event_id in (*judged.accepted, *judged.rejected)]

        async def work(tx: Transaction) -> tuple[None, None]:
            await import_outliers(tx, self._states, room, ordered(new, by_auth_events), judged.rejected)
            return None, None

        await self._writes.run(room.room_id, work)
        have = known.keys() | judged.accepted.keys() | judged.rejected.keys()
        missing = set(event.auth_event_ids_with_create) - have
        if missing:
            reason = f"its auth events {sorted(missing)} cannot be had from {server}"
            raise GapError(reason, is_temporary=is_temporary)
        gaps_filled.labels("event_auth").inc()

    async def state_before(self, server: str, room: Room, event: Event, allowance: GapAllowance) -> Digest:
        """The root of the state before an event whose prev events we do not all have: as `server` tells it, resolved with the
        state after those that we have. Raises GapError."""
        try:
            state = await self._fetched_state(server, room, event, allowance)
        except (FederationError, TimeoutError, BadState) as error:
            raise GapError(
                f"the state before {event.event_id} cannot be had from {server}: {error}",
                is_temporary=_is_temporary(error),
            ) from error

        async def work(tx: Transaction) -> tuple[Digest, None]:
            await import_outliers(tx, self._states, room, state.outliers, state.rejected)
            roots = [await self._states.built(tx, state.entries)]
            # What one server says of the state must not undo what we know ourselves.
            for stored in (await stored_events.get_many(tx, event.prev_event_ids)).values():
                if stored.state_after is not None and stored.room_nid == room.room_nid:
                    roots.append(stored.state_after)
            return await self._states.resolved(tx, room.rules, roots), None

        root = await self._writes.run(room.room_id, work)
        gaps_filled.labels("state_ids").inc()
        return root

    async def _fetched_state(
        self, server: str, room: Room, event: Event, allowance: GapAllowance
    ) -> ImportedState:
        allowance.spend()
        async with allowance.in_time():
            ids = await get_state_ids(
                self._client, server, room.room_id, event.event_id, timeout=REQUEST_TIMEOUT_S
            )
        wanted = {*ids.state, *ids.auth_chain}
        # An event of another room could say anything of this one.
        known, rejected = await self._database.read(
            lambda tx: known_events(tx, wanted, room_nid=room.room_nid)
        )
        missing = wanted - known.keys()
        if len(missing) > WHOLE_STATE_ABOVE:
            allowance.spend()
            async with allowance.in_time():
                whole = await get_state(self._client, server, room.room_id, event.event_id, room.rules)
            offered = {
                each.event_id: each
                for each in (*whole.auth_chain.events, *whole.state.events)
                if each.event_id in missing
            }
        else:
            offered = await self._single_events(server, room, missing, allowance)
        received = await self._received.verify(list(offered.values()))
        for event_id, dropped in received.dropped.items():
            log.info("state before %s: dropped %s: %s", event.event_id, event_id, dropped.reason)
        return await imported_state(ids.state, received.events, known, rejected)

    async def _single_events(
        self, server: str, room: Room, event_ids: Collection[str], allowance: GapAllowance
    ) -> dict[str, Event]:
        """Events one by one, with what authorises them; those that cannot be had are left out. Raises GapError."""
        found: dict[str, Event] = {}
        asked: set[str] = set()
        slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

        async def ask(event_id: str) -> None:
            async with slots:
                try:
                    async with allowance.in_time():
                        found[event_id] = await get_event(
                            self._client, server, event_id, room.rules, room.room_id
                        )
                except (FederationError, TimeoutError) as error:
                    log.info("%s does not give the event %s: %s", server, event_id, error)

        wanted = await self._not_known(event_ids)
        while wanted:
            allowance.spend(len(wanted))
            asked |= wanted
            await asyncio.gather(*map(ask, sorted(wanted)))
            authorising = {
                auth for event_id in wanted if event_id in found for auth in by_auth_events(found[event_id])
            }
            wanted = await self._not_known(authorising - asked)
        return found

    async def _not_known(self, event_ids: Iterable[str]) -> set[str]:
        wanted = set(event_ids)
        known = await self._database.read(lambda tx: stored_events.known(tx, wanted))
        return wanted - known.keys()


def _is_temporary(error: Exception) -> bool:
    """Whether the server could not be asked just now, rather than has nothing to say."""
    return error.temporary if isinstance(error, FederationError) else isinstance(error, TimeoutError)
